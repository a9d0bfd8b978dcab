package server

import (
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"testing"
)

// After Start the server reads its private copy, whatever the program does with the fields.
func TestOnlyTheResolutionOfTheConfigurationReadsTheFieldsOfAServer(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	// The types of this package are enough, so imports may fail.
	check := types.Config{Error: func(error) {}, Importer: importer.ForCompiler(fset, "none", nil), FakeImportC: true}
	_, _ = check.Check("server", fset, files, info)

	read := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !sel.Sel.IsExported() {
					return true
				}
				found := info.Selections[sel]
				if found == nil || found.Kind() != types.FieldVal || !isServer(found.Recv()) {
					return true
				}
				if read[sel.Sel.Name] = true; fn.Name.Name != "resolve" {
					t.Errorf("%v: %s reads Server.%s", fset.Position(sel.Pos()), fn.Name.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
	for i := range reflect.TypeFor[Server]().NumField() {
		if f := reflect.TypeFor[Server]().Field(i); f.IsExported() && !read[f.Name] {
			t.Errorf("Server.%s is not read", f.Name)
		}
	}
}

// isServer reports whether t is Server or *Server.
func isServer(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := t.(*types.Named)
	return ok && named.Obj().Name() == "Server"
}

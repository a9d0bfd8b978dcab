package memcache

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEachExportedFunctionSaysWhichGoroutineMayCallIt reads the comments of all exported functions and methods of exported types.
func TestEachExportedFunctionSaysWhichGoroutineMayCallIt(t *testing.T) {
	phrase := regexp.MustCompile(`(Any\s+goroutine|Loop\s+only|May\s+block; not in a callback)\.\s*$`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || !ast.IsExported(receiver(fn)) {
				continue
			}
			checked++
			if !phrase.MatchString(fn.Doc.Text()) {
				t.Errorf("%s: the comment of %s does not end with the goroutine: %q", f.Name(), fn.Name.Name, fn.Doc.Text())
			}
		}
	}
	if checked < 20 {
		t.Errorf("there are %d exported functions", checked)
	}
}

// receiver returns the name of the type of a method, or the name of a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

package examples_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachExampleIsDocumented: the documentation of each program begins with its name and has a command that runs it, and the
// documentation of the package lists it.
func TestEachExampleIsDocumented(t *testing.T) {
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) < 10 {
		t.Fatalf("found %d programs: %v", len(programs), err)
	}
	list := packageComment(t, "doc.go")
	for _, file := range programs {
		name := filepath.Dir(file)
		text := packageComment(t, file)
		if first, _, _ := strings.Cut(text, " "); strings.ToLower(first) != name {
			t.Errorf("the documentation of %s begins with %q", name, first)
		}
		if !strings.Contains(text, "\tgo run ./examples/"+name) {
			t.Errorf("the documentation of %s has no command that runs it", name)
		}
		if !strings.Contains(list, "- "+name+": ") {
			t.Errorf("the list of the package has no entry for %s", name)
		}
	}
}

// packageComment returns the comment of a file's package clause.
func packageComment(t *testing.T, file string) string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Doc.Text()
}

package httpd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// The list of behaviours names tests that exist.
func TestTheListOfBehavioursNamesTests(t *testing.T) {
	list, err := os.ReadFile("../docs/httpd.md")
	testkit.Must(t, err)
	var code strings.Builder
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		testkit.Must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			testkit.Must(t, err)
			code.Write(text)
		}
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(list), -1)
	for _, name := range names {
		if !strings.Contains(code.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("there is no test %s", name[1])
		}
	}
	if len(names) < 50 {
		t.Errorf("the list names %d tests", len(names))
	}
}

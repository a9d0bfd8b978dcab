package archtest

import (
	"fmt"
	"strings"
	"testing"
)

// longestFile and longestFunction are the numbers of lines that a file and a function have at most.
const longestFile, longestFunction = 450, 60

// A file has at most 450 lines and a function at most 60, in tests too.
func TestFilesAndFunctionsAreShort(t *testing.T) { obey(t, pending.length, tooLong) }

// tooLong finds a file and functions that are too long.
func tooLong(s *source) (found []finding) {
	if s.file == nil {
		return nil
	}
	if n := strings.Count(s.text, "\n"); n > longestFile {
		found = append(found, finding{longestFile + 1, fmt.Sprintf("the file has %d lines", n)})
	}
	for _, f := range s.funcs() {
		if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > longestFunction {
			found = append(found, s.at(f.Pos(), "%s has %d lines", f.Name.Name, n))
		}
	}
	return found
}

func TestTooLongFindsLongFilesAndFunctions(t *testing.T) {
	function := func(lines int, mark string) string {
		return "func f() {" + mark + "\n" + strings.Repeat("\tg()\n", lines-2) + "}\n"
	}
	sample{"a.go", "package a\n\n" + function(longestFunction, "")}.expect(t, tooLong)
	sample{"a.go", "package a\n\n" + function(longestFunction+1, " // bad")}.expect(t, tooLong)
	sample{"a.go", "package a\n" + strings.Repeat("\n", longestFile-1)}.expect(t, tooLong)
	sample{"a.go", "package a\n" + strings.Repeat("\n", longestFile-1) + "// bad\n"}.expect(t, tooLong)
	sample{"a.md", strings.Repeat("A text may be long.\n", 2*longestFile)}.expect(t, tooLong)
}

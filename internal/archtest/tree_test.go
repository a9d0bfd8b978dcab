package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

// A source is a file of the repository.
type source struct {
	path string // from the root of the repository, with slashes
	text string
	set  *token.FileSet
	file *ast.File // nil: not a Go file
}

// dir returns the directory of the file, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) line(p token.Pos) int { return s.set.Position(p).Line }

// at returns a finding at a position of a Go file.
func (s *source) at(p token.Pos, format string, args ...any) finding {
	return finding{line: s.line(p), text: fmt.Sprintf(format, args...)}
}

// funcs returns the functions and methods of a Go file.
func (s *source) funcs() (all []*ast.FuncDecl) {
	if s.file == nil {
		return nil
	}
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all = append(all, f)
		}
	}
	return all
}

// A finding is a place at which a file breaks a rule.
type finding struct {
	line int
	text string
}

// A pendingList names files whose findings are not reported: patterns of path.Match. An entry without a finding is reported.
type pendingList []string

// exempts returns the first entry that matches a file, or "".
func (p pendingList) exempts(file string) string {
	i := slices.IndexFunc(p, func(pattern string) bool { ok, err := path.Match(pattern, file); return ok && err == nil })
	if i < 0 {
		return ""
	}
	return p[i]
}

// obey reports what find finds in the files of the repository. The findings in pending files are shown by -v.
func obey(t *testing.T, pending pendingList, find func(*source) []finding) {
	t.Helper()
	if leaktest.Raced() {
		t.Skip("the rules hold without the race detector, which only makes their check slow")
	}
	used := map[string]bool{}
	for _, s := range repository(t) {
		entry := pending.exempts(s.path)
		for _, f := range find(s) {
			if entry == "" {
				t.Errorf("%s:%d: %s", s.path, f.line, f.text)
				continue
			}
			if used[entry] = true; testing.Verbose() {
				t.Logf("pending: %s:%d: %s", s.path, f.line, f.text)
			}
		}
	}
	for _, entry := range pending {
		if !used[entry] {
			t.Errorf("%s is pending without a finding: remove it from the list", entry)
		}
	}
}

// repository returns the Go files and the texts of the repository, without testdata.
func repository(t *testing.T) []*source {
	t.Helper()
	all, err := readRepository()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var readRepository = sync.OnceValues(func() (all []*source, err error) {
	root := os.DirFS(filepath.Join("..", ".."))
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !isSource(name):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s, err := newSource(name, string(text))
		all = append(all, s)
		return err
	})
	return all, err
})

// isSource reports whether the rules are for a file.
func isSource(name string) bool {
	return slices.Contains([]string{".go", ".md", ".pml", ".service", ".sh", ".socket", ".yml"}, path.Ext(name)) ||
		name == ".ci/run" || strings.HasPrefix(path.Base(name), "Dockerfile")
}

// newSource returns a file with its text, parsed if it is a Go file.
func newSource(name, text string) (*source, error) {
	s := &source{path: name, text: text, set: token.NewFileSet()}
	if path.Ext(name) != ".go" {
		return s, nil
	}
	var err error
	s.file, err = parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

// The walk reaches every part of the repository. A part that it did not see would break no rule.
func TestTheWholeRepositoryIsRead(t *testing.T) {
	seen := map[string]int{}
	for _, s := range repository(t) {
		seen[s.dir()]++
	}
	// A module that is downloaded as a dependency lacks the directories that begin with a dot and other modules.
	for _, dir := range []string{".", "cmd/evcached", "docs/decisions", "event", "examples/echo", "internal/archtest", "memcache", "msgqueue", "server", "server/framing"} {
		if seen[dir] == 0 {
			t.Errorf("no file of %s was read", dir)
		}
	}
}

// An entry of a pendingList exempts the files that match it, and no others.
func TestPendingEntriesExemptWhatTheyMatch(t *testing.T) {
	p := pendingList{"server/*.go", "event/loop_test.go"}
	for file, want := range map[string]string{
		"server/conn.go": "server/*.go", "server/framing/doc.go": "", "event/loop_test.go": "event/loop_test.go", "event/loop.go": "",
	} {
		if got := p.exempts(file); got != want {
			t.Errorf("%s: entry %q, want %q", file, got, want)
		}
	}
}

// A sample is source for the test of a check: the check must have one finding for each line that ends in the comment "// bad" or in "<- bad".
type sample struct{ path, text string }

// expect checks that find has findings at the marked lines of a sample and nowhere else.
func (s sample) expect(t *testing.T, find func(*source) []finding) {
	t.Helper()
	src, err := newSource(s.path, s.text)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []int
	for _, f := range find(src) {
		got = append(got, f.line)
	}
	for i, line := range bytes.Split([]byte(s.text), []byte("\n")) {
		if bytes.HasSuffix(line, []byte("bad")) {
			want = append(want, i+1)
		}
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("%s: findings at the lines %v, want %v, in\n%s", s.path, got, want, s.text)
	}
}

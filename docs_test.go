package evmq_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readFile returns the content of a file as a string.
func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDecisionsAreNumberedWithoutGaps: the n-th file is named and headed with n.
func TestDecisionsAreNumberedWithoutGaps(t *testing.T) {
	files, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d decisions: %v", len(files), err)
	}
	for i, file := range files { // sorted by name
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(path.Base(file), want) {
			t.Errorf("%s does not begin with %s", file, want)
		}
		if want := fmt.Sprintf("# %d. ", i+1); !strings.HasPrefix(readFile(t, file), want) {
			t.Errorf("the heading of %s does not begin with %q", file, want)
		}
	}
}

// TestArchitectureNamesExistingFiles: the tables of docs/architecture.md name files of their packages, and the list names packages.
func TestArchitectureNamesExistingFiles(t *testing.T) {
	text := readFile(t, "docs/architecture.md")
	_, list, _ := strings.Cut(text, "\n## Packages\n")
	list, _, _ = strings.Cut(list, "\n## ")
	packages := regexp.MustCompile(`(?m)^    ([a-z]\S*) {2,}\S`).FindAllStringSubmatch(list, -1)
	if len(packages) < 10 {
		t.Fatalf("found %d packages", len(packages))
	}
	for _, p := range packages {
		if info, err := os.Stat(p[1]); err != nil || !info.IsDir() {
			t.Errorf("the package %s does not exist", p[1])
		}
	}
	sections := regexp.MustCompile(`(?m)^## (\S+), file by file$`).FindAllStringSubmatchIndex(text, -1)
	if len(sections) < 4 {
		t.Fatalf("found %d tables of files", len(sections))
	}
	for _, at := range sections {
		dir := text[at[2]:at[3]]
		table, _, _ := strings.Cut(text[at[1]:], "\n## ")
		files := regexp.MustCompile(`[\w*]+\.go`).FindAllString(table, -1)
		if len(files) < 5 {
			t.Errorf("the table of %s names %d files", dir, len(files))
		}
		for _, file := range files {
			if found, err := filepath.Glob(filepath.Join(dir, file)); err != nil || len(found) == 0 {
				t.Errorf("the table of %s names %s, which does not exist", dir, file)
			}
		}
	}
}

// TestArchitectureNamesExistingFunctions: the table of the path of a request names functions of the files that it names before them.
func TestArchitectureNamesExistingFunctions(t *testing.T) {
	_, table, _ := strings.Cut(readFile(t, "docs/architecture.md"), "\n## The path of a request through the server\n")
	table, _, _ = strings.Cut(table, "\n## ")
	calls := regexp.MustCompile("`(\\S+\\.go)` (\\w+(?:, \\w+)*)").FindAllStringSubmatch(table, -1)
	if len(calls) < 30 {
		t.Fatalf("found %d files with their functions", len(calls))
	}
	for _, call := range calls {
		text := readFile(t, call[1])
		for name := range strings.SplitSeq(call[2], ", ") {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `[\[(]`).MatchString(text) {
				t.Errorf("%s has no function %s", call[1], name)
			}
		}
	}
}

// TestLinksOfDocumentsExist: they name files, and headings of those files.
func TestLinksOfDocumentsExist(t *testing.T) {
	documents := []string{"README.md", "CONTRIBUTING.md", "bench/README.md", "docs/model/README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, files...)
	}
	links := 0
	for _, document := range documents {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`).FindAllStringSubmatch(readFile(t, document), -1) {
			links++
			target := filepath.Join(filepath.Dir(document), link[1])
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", document, err)
			} else if link[2] != "" && !hasHeading(readFile(t, target), link[2][1:]) {
				t.Errorf("%s: %s has no heading %s", document, target, link[2])
			}
		}
	}
	if links < 20 {
		t.Errorf("found only %d links", links)
	}
}

// hasHeading reports whether a document has a heading whose anchor is the given one.
func hasHeading(text, anchor string) bool {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		words := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(words, " ", "-") == anchor {
			return true
		}
	}
	return false
}

package examples_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// readmeListing returns the first Go listing below a heading of the README.
func readmeListing(t *testing.T, heading string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(strings.ReplaceAll(string(readme), "\n### ", "\n## "), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the README has no heading %q", heading)
	}
	_, part, found = strings.Cut(part, "```go\n")
	code, _, closed := strings.Cut(part, "```")
	if !found || !closed {
		t.Fatalf("the README has no listing below %q", heading)
	}
	return code
}

// TestReadmeListingOfTheQueueRuns compiles the listing as the body of a program and runs it until its timer ends the loop.
func TestReadmeListingOfTheQueueRuns(t *testing.T) {
	t.Parallel()
	const imports = `import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
)
`
	code := readmeListing(t, "Passing messages to a loop")
	program := "package main\n\n" + imports + "\nfunc main() {\n" + code + "}\n"
	if got := output(t, buildOverlaid(t, "hello", program)); got != "done: tea" {
		t.Errorf("the listing printed %q", got)
	}
}

// TestReadmeListingsOfHTTPAreExamples compares the listings with the examples of the packages, which are compiled.
func TestReadmeListingsOfHTTPAreExamples(t *testing.T) {
	for heading, file := range map[string]string{
		"Long polls and server-sent events": "../httpd/sse/example_test.go", "WebSocket": "../httpd/websocket/example_test.go",
	} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(source), "\nfunc Example() {\n")
		body, _, _ = strings.Cut(body, "\n}\n")
		body = strings.ReplaceAll("\n"+body, "\n\t", "\n") + "\n"
		if listing := "\n" + readmeListing(t, heading); listing != body {
			t.Errorf("the listing below %q is\n%s\nand Example of %s is\n%s", heading, listing, file, body)
		}
	}
}

// TestReadmeCommandsNameProgramsAndFiles compares the paths in the README's commands and links with the repository.
func TestReadmeCommandsNameProgramsAndFiles(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile(`go run \./([\w/]+)|\]\(([\w./-]+)(?:#[\w-]+)?\)`).FindAllStringSubmatch(string(readme), -1)
	if len(paths) < 10 {
		t.Fatalf("found only %d paths", len(paths))
	}
	for _, p := range paths {
		if _, err := os.Stat("../" + p[1] + p[2]); err != nil {
			t.Error(err)
		}
	}
}

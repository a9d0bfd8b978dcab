package examples_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// listing is the program without the comment before it.
func listing(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("hello/main.go")
	testkit.Must(t, err)
	_, code, found := strings.Cut(string(source), "\npackage main\n")
	if !found {
		t.Fatal("hello/main.go has no comment before its package")
	}
	return "package main\n" + code
}

func TestHelloHas15Lines(t *testing.T) {
	if n := strings.Count(listing(t), "\n"); n != 15 {
		t.Errorf("%d lines", n)
	}
}

// TestHelloIsTheListingOfTheReadme compares the two.
func TestHelloIsTheListingOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	testkit.Must(t, err)
	_, part, found := strings.Cut(string(readme), "## A server in 15 lines\n")
	if !found {
		t.Fatal("the README has no such part")
	}
	_, part, _ = strings.Cut(part, "```go\n")
	got, _, _ := strings.Cut(part, "```")
	if want := listing(t); got != want {
		t.Errorf("the README lists\n%s\nand the program is\n%s", got, want)
	}
}

// TestHello runs the listing on an address of its own, since the one in it may be in use.
func TestHello(t *testing.T) {
	const addr = "127.0.0.1:7000"
	if n := strings.Count(listing(t), addr); n != 1 {
		t.Fatalf("%s is %d times in the listing", addr, n)
	}
	mine := fmt.Sprintf("127.%d.%d.%d:7000", 1+rand.IntN(250), rand.IntN(250), 2+rand.IntN(250))
	p := start(t, buildOverlaid(t, "hello", strings.Replace(listing(t), addr, mine, 1)))
	for tries := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", mine); err == nil {
			c.Close()
			break
		}
		if time.Now().After(tries) || len(p.ended) > 0 {
			t.Fatal("it does not listen")
		}
	}
	a, b := dial(t, mine), dial(t, mine)
	a.send("you\nand ")
	b.send("me\n")
	b.expectLines("hello me")
	a.send("you\nlast")
	testkit.Must(t, a.CloseWrite())
	a.expectLines("hello you", "hello and you", "hello last")
	a.expectEnd()
}

// buildOverlaid builds an example with another text in the place of its main.go.
func buildOverlaid(t *testing.T, name, source string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	main, err := filepath.Abs(filepath.Join(name, "main.go"))
	testkit.Must(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{main: filepath.Join(dir, "main.go")}})
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	binary = filepath.Join(dir, name)
	testkit.Must(t, compile(name, "-o", binary, "-overlay", filepath.Join(dir, "overlay.json")))
	return binary
}

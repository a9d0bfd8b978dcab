//go:build linux || darwin || freebsd

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// Items survive only SIGUSR1 and shutdown graceful, as in memcached, and no other way to stop.
func TestItemsSurviveAGracefulStopAlone(t *testing.T) {
	for _, way := range waysToStop {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "items")
			args := []string{"-p", "-1", "-A", "-e", file}
			p := start(t, args...)
			large := strings.Repeat("x", 700_000)
			text := "set a 5 0 1\r\nx\r\nset soon 0 1 1\r\nx\r\nset large 0 0 700000\r\n" + large + "\r\n"
			askOnce(t, "tcp", p.addrs[0], text, "STORED\r\nSTORED\r\nSTORED\r\n")
			way.stop(p, p.addrs[0])
			equal(t, "the status", p.wait(), 0)
			graceful := way.name == "SIGUSR1" || way.name == "shutdown graceful"
			info, err := os.Stat(file)
			if (err == nil) != graceful {
				t.Fatalf("the file after %s: %v, %v", way.name, info, err)
			}
			if graceful {
				equal(t, "the file's mode", info.Mode(), 0o600)
			}

			p = start(t, args...)
			if graceful {
				p.signal(syscall.SIGHUP) // whatever else happens
				askOnce(t, "tcp", p.addrs[0], "get a large\r\n", "VALUE a 5 1\r\nx\r\nVALUE large 0 700000\r\n"+large+"\r\nEND\r\n")
			} else {
				askOnce(t, "tcp", p.addrs[0], "get a large\r\n", "END\r\n")
			}
			wantFiles(t, filepath.Dir(file), "items.tmp")
			p.end()
			wantFiles(t, filepath.Dir(file))
		})
	}
}

// wantFiles checks that a directory has exactly these files.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	testkit.Must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	equal(t, "the files in the directory", fmt.Sprint(got), fmt.Sprint(want))
}

// saved returns the name of a file with the item a=x, in a new directory.
func saved(t *testing.T) (file string, text []byte) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "items")
	p := start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], "set a 0 0 1\r\nx\r\n", "STORED\r\n")
	p.signal(syscall.SIGUSR1)
	equal(t, "the status", p.wait(), 0)
	text, err := os.ReadFile(file)
	testkit.Must(t, err)
	return file, text
}

const (
	askA  = "get a\r\n"
	isA   = "VALUE a 0 1\r\nx\r\nEND\r\n"
	isNoA = "END\r\n"
)

// Items are loaded once, since the file would be out of date after a crash.
func TestItemsAreLoadedOnce(t *testing.T) {
	file, _ := saved(t)
	p := start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], askA+"set a 0 0 1\r\ny\r\n", isA+"STORED\r\n")
	testkit.Must(t, p.cmd.Process.Kill())
	p.wait()
	p = start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], askA, isNoA)
	p.end()
}

// A start that fails leaves the items for the next one.
func TestAStartThatFailsLeavesTheItems(t *testing.T) {
	file, _ := saved(t)
	l := listenOn(t, "tcp", "127.0.0.1:0")
	if got := refused(t, statusSystem, "-l", l.Addr().String(), "-e", file); !strings.Contains(got, "address already in use") {
		t.Errorf("the output is %q", got)
	}
	none := filepath.Join(t.TempDir(), "none", "pid")
	if got := refused(t, statusSystem, "-p", "-1", "-e", file, "-P", none); !strings.Contains(got, "no such file or directory") {
		t.Errorf("the output is %q", got)
	}
	p := start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], askA, isA)
	p.end()
}

// A file that cannot be loaded causes a warning and is not loaded later. A file of another program stays unchanged.
func TestAFileThatCannotBeLoadedIsAWarning(t *testing.T) {
	_, text := saved(t)
	newer := bytes.Clone(text)
	newer[8]++
	for _, row := range []struct {
		name, reason string
		text         []byte
		left         []string
	}{
		{"cut", memcache.ErrDamaged.Error(), text[:len(text)-1], []string{"items.refused"}},
		{"newer", memcache.ErrVersion.Error(), newer, []string{"items.refused"}},
		{"foreign", memcache.ErrForeign.Error(), []byte("root:x:0:0:root:/root:/bin/bash\n"), []string{"items"}},
		{"empty", memcache.ErrForeign.Error(), nil, []string{"items"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "items")
			testkit.Must(t, os.WriteFile(file, row.text, 0o600))
			p := start(t, "-p", "-1", "-e", file)
			if said := p.output(); !strings.Contains(said, "level=WARN msg=\"starting with an empty cache\"") || !strings.Contains(said, row.reason) {
				t.Errorf("the output is %q, want %q", said, row.reason)
			}
			askOnce(t, "tcp", p.addrs[0], askA, isNoA)
			p.end()
			wantFiles(t, filepath.Dir(file), row.left...)
			left, err := os.ReadFile(filepath.Join(filepath.Dir(file), row.left[0]))
			testkit.Must(t, err)
			equal(t, "what is left", string(left), string(row.text))
		})
	}
}

// A second process with the same file does not start, and the first continues.
func TestAFileServesOneProcess(t *testing.T) {
	file, _ := saved(t)
	p := start(t, "-p", "-1", "-e", file)
	want := "evcached: -e " + file + ": " + errUsed.Error() + "\n"
	equal(t, "the error of the second process", refused(t, statusSystem, "-p", "-1", "-e", file), want)
	askOnce(t, "tcp", p.addrs[0], askA, isA)
	p.signal(syscall.SIGUSR1)
	equal(t, "the status", p.wait(), 0)
	wantFiles(t, filepath.Dir(file), "items")
}

// A file that cannot be written is an error at the start, not only at the stop.
func TestAFileThatCannotBeWrittenEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	testkit.Must(t, os.Symlink(filepath.Join(dir, "target"), link))
	linkedPart := filepath.Join(dir, "x")
	testkit.Must(t, os.Symlink(filepath.Join(dir, "target"), linkedPart+partSuffix))
	for file, want := range map[string]string{
		filepath.Join(dir, "none", "items"): "no such file or directory",
		dir:                                 errKind.Error(),
		link:                                errKind.Error(),
		linkedPart:                          "too many levels of symbolic links",
	} {
		if got := refused(t, statusSystem, "-p", "-1", "-e", file); !strings.Contains(got, want) {
			t.Errorf("%s: the output is %q, want %q", file, got, want)
		}
	}
	wantFiles(t, dir, "link", "x.tmp")
}

// idleProgram returns a program without servers whose cache holds a=x.
func idleProgram(t *testing.T, file string) *program {
	t.Helper()
	cache, err := memcache.New(nil)
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, cache.Close()) })
	p := &program{settings: defaults(), log: slog.New(slog.DiscardHandler), cache: cache}
	p.items, err = openMemoryFile(file)
	testkit.Must(t, err)
	return p
}

// A signal ends loading and saving. Items being loaded stay in the file, and a file saved earlier is unchanged.
func TestASignalEndsLoadingAndSaving(t *testing.T) {
	file, text := saved(t)
	p := idleProgram(t, file)
	ctx, cut := context.WithCancelCause(context.Background())
	cut(errSecondSignal)
	if err := p.items.load(ctx, p); !errors.Is(err, errSecondSignal) {
		t.Errorf("load: %v", err)
	}
	testkit.Must(t, p.items.takeAway())
	if err := p.items.save(ctx, p); !errors.Is(err, errSecondSignal) || status(err) != statusSystem {
		t.Errorf("save: %v", err)
	}
	testkit.Must(t, p.items.close())
	wantFiles(t, filepath.Dir(file), "items")
	left, err := os.ReadFile(file)
	testkit.Must(t, err)
	equal(t, "the file", string(left), string(text))
}

// Items that cannot be saved are an error, here because the file is not writable.
func TestItemsThatCannotBeSavedAreAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "items")
	p := idleProgram(t, file)
	part := p.items.part
	var err error
	p.items.part, err = os.Open(part.Name()) // which cannot be written
	testkit.Must(t, err)
	defer part.Close()
	if err := p.items.save(context.Background(), p); err == nil || status(err) != statusSystem {
		t.Errorf("save: %v", err)
	}
	testkit.Must(t, p.items.close())
	wantFiles(t, filepath.Dir(file))
}

// A part left by a crash during saving is used again.
func TestAPartThatWasLeftBehindIsUsedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "items")
	testkit.Must(t, os.WriteFile(file+partSuffix, bytes.Repeat([]byte("old"), 100_000), 0o644))
	p := start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], "set a 0 0 1\r\nx\r\n", "STORED\r\n")
	p.signal(syscall.SIGUSR1)
	equal(t, "the status", p.wait(), 0)
	info, err := os.Stat(file)
	testkit.Must(t, err)
	equal(t, "the file's mode", info.Mode(), 0o600)
	p = start(t, "-p", "-1", "-e", file)
	askOnce(t, "tcp", p.addrs[0], askA, isA)
	p.end()
}

// With -u the file belongs to that user, and a later process of that user loads it.
func TestTheItemsAreTheUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const nobodyUID = 65534
	dir := socketDir(t)
	testkit.Must(t, os.Chown(dir, nobodyUID, -1))
	file := filepath.Join(dir, "items")
	for i, answer := range []string{isNoA, isA} {
		p := start(t, "-p", "-1", "-u", "nobody", "-e", file)
		askOnce(t, "tcp", p.addrs[0], askA+"set a 0 0 1\r\nx\r\n", answer+"STORED\r\n")
		p.signal(syscall.SIGUSR1)
		equal(t, "the status", p.wait(), 0)
		info, err := os.Stat(file)
		testkit.Must(t, err)
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != nobodyUID {
			t.Errorf("stop %d: the file belongs to %d", i, owner)
		}
	}
	testkit.Must(t, os.Chown(file, 1, -1)) // as a file that another user has planted
	testkit.Must(t, os.Chmod(file, fs.FileMode(0o644)))
	p := start(t, "-p", "-1", "-u", "nobody", "-e", file)
	p.end()
	if !strings.Contains(p.output(), errOwner.Error()) {
		t.Errorf("the output is %q", p.output())
	}
	wantFiles(t, dir, "items.refused")
}

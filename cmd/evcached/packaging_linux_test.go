package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// instructions returns the instructions of the Dockerfile's last stage by name, and the RUN instructions of all stages.
func instructions(t *testing.T) (last map[string]string, runs []string) {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	testkit.Must(t, err)
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case name == "" || strings.HasPrefix(name, "#"):
		case name == "FROM":
			last = map[string]string{name: rest}
		case name == "RUN":
			runs = append(runs, rest)
		default:
			last[name] = rest
		}
	}
	return last, runs
}

// TestTheImageBuildsFromTheModuleCache runs the build of the Dockerfile without a proxy. The program is static, answers, and ends in
// order at the image's signal.
func TestTheImageBuildsFromTheModuleCache(t *testing.T) {
	last, runs := instructions(t)
	if len(runs) != 1 {
		t.Fatalf("the Dockerfile has %d RUN instructions, want 1", len(runs))
	}
	program := filepath.Join(t.TempDir(), "evcached")
	build := regexp.MustCompile(`--mount=\S+`).ReplaceAllString(runs[0], "")
	build = strings.Replace(build, "-o /evcached", `-o "$PROGRAM"`, 1)
	cmd := exec.Command("/bin/sh", "-c", build)
	cmd.Dir = filepath.Join("..", "..") // what the build copies
	cmd.Env = append(os.Environ(), "PROGRAM="+program, "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	isStatic(t, program)

	var entry, args []string
	testkit.Must(t, json.Unmarshal([]byte(last["ENTRYPOINT"]), &entry))
	testkit.Must(t, json.Unmarshal([]byte(last["CMD"]), &args))
	equal(t, "the program of the image", strings.Join(entry, " "), "/evcached")
	p := startCommand(t, exec.Command(program, append(args, "-v", "-p", "-1")...))
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	equal(t, "the image's signal", last["STOPSIGNAL"], "SIGTERM")
	p.end()
}

// isStatic checks that the program needs no other file.
func isStatic(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	testkit.Must(t, err)
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			t.Errorf("%s needs a loader", program)
		}
	}
	libraries, err := file.ImportedLibraries()
	testkit.Must(t, err)
	if len(libraries) > 0 {
		t.Errorf("%s needs %v", program, libraries)
	}
}

// TestTheImageContainsOnlyTheProgram, and it does not run as root.
func TestTheImageContainsOnlyTheProgram(t *testing.T) {
	last, _ := instructions(t)
	for name, want := range map[string]string{
		"FROM": "scratch", "COPY": "--from=build /evcached /evcached", "USER": "65532:65532", "EXPOSE": "11211",
	} {
		equal(t, name, last[name], want)
	}
}

// TestTheUnitsAreValid runs systemd-analyze verify. The options in the service must be accepted without warnings.
func TestTheUnitsAreValid(t *testing.T) {
	service, err := os.ReadFile(filepath.Join("systemd", "evcached.service"))
	testkit.Must(t, err)
	options := regexp.MustCompile(`"EVCACHED_OPTIONS=([^"]*)"`).FindSubmatch(service)
	if options == nil {
		t.Fatal("the service has no options")
	}
	if s, err := parse(strings.Fields(string(options[1])), nil); err != nil || len(s.warnings) > 0 {
		t.Errorf("%s: %v, warnings %q", options[1], err, s.warnings)
	}
	const start = "ExecStart=/usr/local/bin/evcached "
	if !bytes.Contains(service, []byte(start)) {
		t.Fatalf("the service has no %q", start)
	}
	analyze := testkit.Program(t, "systemd-analyze")
	here, err := os.Executable()
	testkit.Must(t, err)
	dir := t.TempDir()
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "evcached.service"), bytes.Replace(service, []byte(start), []byte("ExecStart="+here+" "), 1), 0o600))
	socket, err := os.ReadFile(filepath.Join("systemd", "evcached.socket"))
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "evcached.socket"), socket, 0o600))
	out, err := exec.Command(analyze, "verify", filepath.Join(dir, "evcached.service"), filepath.Join(dir, "evcached.socket")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

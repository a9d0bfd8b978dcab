//go:build linux || darwin || freebsd

package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/evmq/evmq/internal/testkit"
)

// wrongCommandLines are command lines, the status that the program ends with, and what its message contains.
var wrongCommandLines = []struct {
	line   string
	status int
	want   string
}{
	{"-Q", 1, "unknown option -Q"},
	{"-vQ", 1, "unknown option -Q"},
	{"--bogus", 1, "unknown option --bogus"},
	{"--bogus=3", 1, "unknown option --bogus"},
	{"--ver", 1, "unknown option --ver"}, // verbose or version
	{"-test.v", 1, "unknown option -test.v"},
	{"-p", 1, "flag needs an argument: 'p' in -p"},
	{"--port", 1, "flag needs an argument: --port"},
	{"-p x", 64, `invalid argument "x" for "-p, --port" flag: must be a number from -1 to 65535`},
	{"-p 65536", 64, `must be a number from -1 to 65535`},
	{"-U x", 64, `invalid argument "x" for "-U, --udp-port" flag`},
	{"-p 0", 64, "no socket to listen on: -p 0 without -U and -s"},
	{"-m 0", 64, `"-m, --memory-limit" flag: must be a number from 1 to`},
	{"-m 1.5", 64, `"-m, --memory-limit" flag: must be a number from 1 to`},
	{"-m 1", 64, "items of 1048576 bytes (-I) are more than half of the memory, 1 megabytes (-m)"},
	{"-I 1023", 64, `"-I, --max-item-size" flag: must be a size from 1k (1024) to 1024m`},
	{"-I 1025m", 64, "must be a size from 1k (1024) to 1024m"},
	{"-I 2g", 64, "must be a size from 1k (1024) to 1024m"},
	{"-I 99999999999m", 64, "must be a size from 1k (1024) to 1024m"},
	{"-I k", 64, "must be a size from 1k (1024) to 1024m"},
	{"-I -5k", 64, "must be a size from 1k (1024) to 1024m"},
	{"-I 33m", 64, "items of 34603008 bytes (-I) are more than half of the memory, 64 megabytes (-m)"},
	{"-c 0", 1, `"-c, --conn-limit" flag: must be a number from 1 to`},
	{"-t 0", 1, `"-t, --threads" flag: must be a number from 1 to 32767`},
	{"-R 0", 1, `"-R, --max-reqs-per-event" flag: must be a number from 1 to`},
	{"-b 0", 1, `"-b, --listen-backlog" flag: must be a number from 1 to`},
	{"-a 8", 1, `invalid argument "8" for "-a, --unix-mask" flag: must be an octal number from 0 to 777`},
	{"-a 1000", 1, "must be an octal number from 0 to 777"},
	{"--unix-socket=", 1, "the name of the file is empty"},
	{"-B udp", 64, `invalid argument "udp" for "-B, --protocol" flag: must be auto, binary or ascii`},
	{"-S", 64, "-S needs -Y: a file of users"},
	{"-S -Y x -B ascii", 64, "-S needs the binary protocol, and -B ascii allows only the text protocol"},
	{"-Y x -B binary", 64, "-B binary with -Y needs -S"},
	{"-Y x -U 12000", 64, "-Y cannot protect UDP"},
	{"-S -Y x -U 12000", 64, "-Y cannot protect UDP"},
	{"-Y /does/not/exist", 1, "-Y: load users: open /does/not/exist: no such file or directory"},
	{"-Z", 64, "-Z needs a certificate: -o ssl_chain_cert=file"},
	{"-Z -p 0 -U 12000", 64, "-Z needs a TCP port"},
	{"-Z -o ssl_chain_cert=/does/not/exist", 64, "certificate /does/not/exist, key /does/not/exist: open /does/not/exist"},
	{"-Z -o ssl_chain_cert=x,ssl_verify_mode=2", 64, "-o ssl_verify_mode=2 needs the certificates of the clients' authorities: -o ssl_ca_cert=file"},
	{"-o bogus", 1, `invalid argument "bogus" for "-o, --extended" flag: there is no option bogus`},
	{"-o modern,bogus=3", 1, "there is no option bogus"},
	{"-o idle_timeout", 1, "idle_timeout needs an argument: idle_timeout=seconds"},
	{"-o idle_timeout=", 1, "idle_timeout needs an argument: idle_timeout=seconds"},
	{"-o idle_timeout=x", 1, "idle_timeout=x: must be a number from 0 to"},
	{"-o idle_timeout=-1", 1, "idle_timeout=-1: must be a number from 0 to"},
	{"-o ssl_chain_cert", 1, "ssl_chain_cert needs an argument: ssl_chain_cert=file"},
	{"-o ssl_verify_mode=4", 1, "ssl_verify_mode=4: must be a number from 0 to 3"},
	{"-o ssl_min_version=4", 1, "ssl_min_version=4: must be a number from 0 to 3"},
	{"-o ssl_keyformat=DER", 1, "ssl_keyformat=DER: keys are read in PEM format only"},
	{"-o ssl_ciphers=HIGH:!aNULL", 1, `there is no cipher suite "HIGH"`},
	{"-o ssl_ciphers=TLS_AES_128_GCM_SHA256", 1, "there is no cipher suite"}, // of TLS 1.3, where suites cannot be chosen
	{"-l notls:127.0.0.1", 71, "-l notls:127.0.0.1: notls: needs -Z"},
	{"-l 127.0.0.1:x", 71, "-l 127.0.0.1:x: the port must be a number from 0 to 65535"},
	{"-l 127.0.0.1:99999", 71, "-l 127.0.0.1:99999: the port must be a number from 0 to 65535"},
	{"-l [::1", 71, "-l [::1: address [::1: "},
	{"-l :12000", 71, "-l :12000: the address is empty; * stands for all"},
	{"-l 203.0.113.1 -p -1", 71, "listen tcp 203.0.113.1:0: bind: "},
	{"-l no..such", 71, "-l no..such: lookup no..such: no such host"},
	{"-s /does/not/exist/s", 71, "-s /does/not/exist/s: listen unix /does/not/exist/s: bind: no such file or directory"},
	{"-P /does/not/exist/p -p -1", 71, "-P /does/not/exist/p: open /does/not/exist/p.tmp: no such file or directory"},
	{"-c 2147483647 -p -1", 71, "-c 2147483647: the process may open "},
}

// TestWrongCommandLinesAreRefused with a message of evcached and the exit status of memcached 1.6.18, except where memcached continues with a value
// that it could not parse.
func TestWrongCommandLinesAreRefused(t *testing.T) {
	for _, row := range wrongCommandLines {
		var stdout, stderr bytes.Buffer
		args := strings.Fields(row.line)
		if got := run(args, &stdout, &stderr); got != row.status {
			t.Errorf("evcached %s: status %d, want %d", row.line, got, row.status)
		}
		if got := stderr.String(); !strings.HasPrefix(got, "evcached: ") || !strings.Contains(got, row.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("evcached %s says %q, want one line with %q", row.line, got, row.want)
		}
		equal(t, "standard output", stdout.String(), "")
	}
}

// TestHelpVersionAndLicenseEndTheParsing: the program prints the text and ends with status 0, whatever follows on the command line.
func TestHelpVersionAndLicenseEndTheParsing(t *testing.T) {
	full, err := os.ReadFile("../../LICENSE")
	testkit.Must(t, err)
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{"-h"}, []string{version(), "-p, --port port", "--max-item-size bytes", "idle_timeout=seconds", "ext_path"}},
		{[]string{"-v", "--help", "--bogus"}, []string{"-p, --port port"}},
		{[]string{"-V"}, []string{version() + "\n"}},
		{[]string{"--version", "-p"}, []string{"evcached 1.6.18"}},
		{[]string{"-i"}, []string{string(full)}},
		{[]string{"--license"}, []string{string(full)}},
	} {
		var stdout, stderr bytes.Buffer
		equal(t, strings.Join(row.args, " ")+": the status", run(row.args, &stdout, &stderr), 0)
		equal(t, strings.Join(row.args, " ")+": standard error", stderr.String(), "")
		for _, want := range row.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%q prints %q, without %q", row.args, stdout.String(), want)
			}
		}
	}
}

// TestHelpNamesEveryOption compares the text of help with the options that are accepted.
func TestHelpNamesEveryOption(t *testing.T) {
	var out bytes.Buffer
	testkit.Must(t, help(&out))
	words := strings.FieldsFunc(out.String(), func(r rune) bool { return strings.ContainsRune(" ,\n=.", r) })
	known := map[string]bool{}
	for _, word := range words {
		known[word] = true
	}
	for _, letter := range "aAZpsUmMckhiVrvdluPfntDLRCbBISFXWYeoN" {
		if !known["-"+string(letter)] {
			t.Errorf("help does not name -%c", letter)
		}
	}
	for _, names := range ignoredSuboptions {
		for _, name := range names {
			if !known[name] {
				t.Errorf("help does not name %s", name)
			}
		}
	}
}

// The options that help lists as ignored have no effect, and the others are not listed there.
func TestHelpListsAsIgnoredWhatIsIgnored(t *testing.T) {
	var out bytes.Buffer
	testkit.Must(t, help(&out))
	_, rest, _ := strings.Cut(out.String(), "ignored with a warning: ")
	line, _, found := strings.Cut(rest, ", and of -o")
	if !found {
		t.Fatalf("help lists no ignored options:\n%s", out.String())
	}
	listed := strings.Fields(line)
	defaults().flags().VisitAll(func(f *pflag.Flag) {
		if got := slices.Contains(listed, "-"+f.Shorthand); got != f.Hidden {
			t.Errorf("-%s is listed as ignored: %v, want %v", f.Shorthand, got, f.Hidden)
		}
	})
}

package difftest_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// watched are the commands whose lines are compared, by subject.
var watched = []struct{ name, events, commands string }{
	{"fetchers", "fetchers", "set a 0 0 1\r\nx\r\nget a\r\nget missing a\r\ngets a b\r\ngat 100 a\r\ngats 0 a b\r\ntouch a 10\r\ntouch no 10\r\n" +
		"incr no 1\r\nset n 0 0 2\r\n41\r\nincr n 1\r\ndecr n 100\r\nincr a 1\r\ndelete a\r\ndelete no\r\nmn\r\nversion\r\nverbosity 0\r\nnonsense\r\n"},
	{"items that are gone", "fetchers", "set f 0 0 1\r\nx\r\nset e 0 -1 1\r\nx\r\nget e\r\nget e\r\nflush_all\r\nget f\r\nget f\r\n"},
	{"fetchers by default", "", "get a\r\nset a 0 0 1\r\nx\r\n"},
	{"words without lines", "rawcmds sysevents proxyevents proxyreqs mutations", "set a 0 0 1\r\nx\r\nget a\r\n"},
	{"a word twice", "mutations mutations", "set a 0 0 1\r\nx\r\n"},
	{"mutations", "mutations", "set a 7 100 5\r\nhello\r\nadd a 0 0 1\r\nx\r\nadd b 0 0 1\r\nx\r\nreplace a 0 50 3\r\nabc\r\nreplace no 0 0 1\r\nx\r\n" +
		"append a 0 90 2\r\nde\r\nprepend a 0 0 2\r\nfg\r\nappend no 0 0 4\r\nfour\r\ncas a 0 9 4 999999\r\nabcd\r\ncas no 0 0 1 1\r\nx\r\n" +
		"set quiet 0 0 1 noreply\r\nx\r\nset bad 0 0 1\r\nxxx\r\n"},
	{"fetchers and mutations", "mutations fetchers", "set a 0 0 1\r\nx\r\nadd a 0 0 1\r\nx\r\nget a\r\nincr none 1\r\n"},
	{"keys that need escapes", "fetchers mutations", "set \xe9%20/~-_.!*() 0 0 1\r\nx\r\nget \xe9%20/~-_.!*()\r\nms AAEC 1 b\r\nx\r\nmg AAEC v b\r\nget " +
		strings.Repeat("\xff", 250) + "\r\n"},
	{"meta", "fetchers mutations", "ms m 1\r\nx\r\nms m 1 MA\r\ny\r\nms m 1 MP T30\r\nz\r\nms m 1 ME\r\nx\r\nms m 1 C99999\r\nx\r\nms m 1 T33 F4\r\nx\r\n" +
		"ms m 1 MR\r\n5\r\nms none 1 MR\r\n5\r\nms m 1 MZ\r\nx\r\nmg m v\r\nmg m s t\r\nmg none v q\r\nmg made v N30\r\nmg m T30\r\nma m\r\nma m D1 MD\r\n" +
		"ma none\r\nma counted N30 J5\r\nmd m I T30\r\nmg m v\r\nmd m\r\nmd m\r\nme counted\r\nms cas 1 I C5\r\nx\r\nmg none k q\r\nmn\r\n"},
	{"values of many sizes", "fetchers mutations", "set empty 0 0 0\r\n\r\nset v 0 0 20000\r\n" + strings.Repeat("v", 20000) + "\r\nset v 0 0 500000\r\n" +
		strings.Repeat("v", 500000) + "\r\nget v\r\nappend v 0 0 600000\r\n" + strings.Repeat("v", 600000) + "\r\nadd w 0 0 300000\r\n" + strings.Repeat("w", 300000) + "\r\n"},
}

// oneThread has a server write lines in the order of the requests. Both collect the lines of several threads one thread after the other.
var oneThread = []string{"-t", "1"}

// After the same commands the watchers of memcached and of evcached receive the same lines, except for times, numbers and descriptors. Of classes
// only their presence is compared.
func TestWatchersReadTheSameLines(t *testing.T) {
	t.Parallel()
	theirs, ours := startMemcached(t, oneThread...), startEvcached(t, oneThread...)
	for _, w := range watched {
		t.Run(strings.ReplaceAll(w.name, " ", "-"), func(t *testing.T) {
			want, got := linesOf(t, theirs, w.events, []byte(w.commands)), linesOf(t, ours, w.events, []byte(w.commands))
			sameLines(t, got, want)
			if len(want) == 0 {
				t.Error("there is nothing to compare")
			}
		})
	}
}

// TestWatchersReadTheSameLinesOfTheBinaryProtocol.
func TestWatchersReadTheSameLinesOfTheBinaryProtocol(t *testing.T) {
	t.Parallel()
	theirs, ours := startMemcached(t, oneThread...), startEvcached(t, oneThread...)
	stored := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 5), 60)
	counter := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1), 1)
	var commands []byte
	for _, f := range []difftest.Frame{
		{Op: 0x00, Key: []byte("q")}, {Op: 0x01, Key: []byte("q"), Extras: stored, Value: []byte("v")}, {Op: 0x0c, Key: []byte("q")},
		{Op: 0x02, Key: []byte("q"), Extras: stored, Value: []byte("vv")}, {Op: 0x03, Key: []byte("q"), Extras: stored, Value: []byte("vv")},
		{Op: 0x0e, Key: []byte("q"), Value: []byte("vv")}, {Op: 0x0f, Key: []byte("none"), Value: []byte("vv")},
		{Op: 0x05, Key: []byte("i"), Extras: binary.BigEndian.AppendUint32(slices.Clone(counter), 0xffffffff)},
		{Op: 0x05, Key: []byte("i"), Extras: binary.BigEndian.AppendUint32(slices.Clone(counter), 0)},
		{Op: 0x05, Key: []byte("i"), Extras: binary.BigEndian.AppendUint32(slices.Clone(counter), 0)},
		{Op: 0x1c, Key: []byte("i"), Extras: []byte{0, 0, 0, 50}}, {Op: 0x1d, Key: []byte("i"), Extras: []byte{0, 0, 0, 50}},
		{Op: 0x01, Key: []byte("i"), Extras: stored, Value: []byte("v"), CAS: 99999}, {Op: 0x01, Key: []byte("none"), Extras: stored, Value: []byte("v"), CAS: 99999},
		{Op: 0x04, Key: []byte("q")}, {Op: 0x04, Key: []byte("q")}, {Op: 0x0a},
	} {
		f.Magic = difftest.RequestMagic
		commands = f.Append(commands)
	}
	sameLines(t, linesOf(t, ours, "fetchers mutations", commands), linesOf(t, theirs, "fetchers mutations", commands))
}

// TestWatchersReadTheSameOfConnections that are closed in order, by a reset, and because of their input.
func TestWatchersReadTheSameOfConnections(t *testing.T) {
	t.Parallel()
	var answers [][]string
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		w := watch(t, d, "connevents fetchers")
		for _, end := range []func(nc *net.TCPConn){
			func(nc *net.TCPConn) {},
			func(nc *net.TCPConn) { say(t, nc, "quit\r\n", "") },
			func(nc *net.TCPConn) { testkit.Must(t, nc.SetLinger(0)) },
			func(nc *net.TCPConn) { say(t, nc, strings.Repeat("x", 3000), "") },
		} {
			nc, err := net.Dial("tcp", d.addr)
			testkit.Must(t, err)
			say(t, nc, "get opened\r\n", "END\r\n")
			end(nc.(*net.TCPConn))
			testkit.Must(t, nc.Close())
			w.until("type=conn_close")
		}
		other := watch(t, d, "mutations")
		testkit.Must(t, other.nc.Close())
		w.until("type=conn_close")
		answers = append(answers, masked(w.lines))
	}
	sameLines(t, answers[1], answers[0])
}

// Lines about evictions have the same form. Which items are evicted differs.
func TestWatchersReadOfEvictionsInTheSameForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^ts=\d+\.\d+ gid=\d+ type=eviction key=key%2F\d+ fetch=(yes|no) ttl=(-1|100|\d\d) la=\d+ clsid=\d+ size=10000$`)
	for _, d := range []*daemon{startMemcached(t, "-m", "2"), startEvcached(t, "-m", "2")} {
		w := watch(t, d, "evictions")
		nc, err := net.Dial("tcp", d.addr)
		testkit.Must(t, err)
		defer nc.Close()
		expiring, others := 0, 0
		for i := range 400 {
			say(t, nc, fmt.Sprintf("set key/%d 0 %d 10000\r\n%s\r\n", i, i%2*100, strings.Repeat("v", 10000)), "STORED\r\n")
			say(t, nc, "touch key/0 0\r\n", "")
			if answer := w.answer(t, nc); answer != "TOUCHED\r\n" && answer != "NOT_FOUND\r\n" {
				t.Fatalf("touch: %q", answer)
			}
		}
		w.until("key=key%2F9 ")
		for _, line := range w.lines {
			m := form.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("%s: %q", d.name, line)
			}
			if m[2] == "-1" {
				others++
			} else { // the seconds that are left of 100
				expiring++
			}
		}
		if expiring == 0 || others == 0 {
			t.Errorf("%s: %d items with a time to live were evicted, and %d without", d.name, expiring, others)
		}
	}
}

// TestWatchIsRefusedInTheSameWords.
func TestWatchIsRefusedInTheSameWords(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		args     []string
		requests []string
	}{
		{nil, []string{
			"watch foo\r\nget a\r\n", "watch fetchers foo\r\nmn\r\n", "watch FETCHERS\r\nmn\r\n", "watch deletions\r\nmn\r\n", "watch fetchers noreply\r\nmn\r\n",
			"set a 0 0 1\r\nx\r\nwatch fetchers\r\nmn\r\n", "set a 0 0 1 noreply\r\nx\r\nwatch\r\nmn\r\n", "mg a v\r\nwatch\r\nmn\r\n", "mn\r\nwatch\r\nmn\r\n", "nonsense\r\nwatch\r\nmn\r\n",
		}},
		{[]string{"-W"}, []string{"watch\r\nmn\r\n", "watch fetchers\r\nmn\r\n", "watch foo\r\nmn\r\n", "watch noreply\r\nmn\r\n"}},
	} {
		theirs, ours := startMemcached(t, r.args...), startEvcached(t, r.args...)
		for _, request := range r.requests {
			var answers [2]string
			for i, d := range []*daemon{theirs, ours} {
				answer, err := difftest.Stream(d.addr, []byte(request), len(request))
				testkit.Must(t, err)
				answers[i] = string(answer)
			}
			if answers[0] != answers[1] {
				t.Errorf("%q is answered with %q, want %q", request, answers[1], answers[0])
			}
		}
	}
}

// Both servers refuse watchers above the limit with the same answer, and the connection can be used further.
func TestWatchersAboveTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		var first *watcher
		for range 20 {
			first = watch(t, d, "mutations")
		}
		nc, err := net.Dial("tcp", d.addr)
		testkit.Must(t, err)
		defer nc.Close()
		say(t, nc, "watch mutations\r\n", "WATCHER_TOO_MANY log watcher limit reached\r\n")
		say(t, nc, "get a\r\n", "END\r\n")
		testkit.Must(t, first.nc.Close())
		for deadline := time.Now().Add(testTimeout); general(t, d)["log_watchers"] != "19"; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: a watcher that has left still counts", d.name)
			}
		}
		watch(t, d, "mutations")
	}
}

// Input of a watcher has no answer and no effect.
func TestInputOfAWatcherIsIgnored(t *testing.T) {
	t.Parallel()
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		w := watch(t, d, "mutations")
		_, err := io.WriteString(w.nc, "set of-a-watcher 0 0 1\r\nx\r\nwatch fetchers\r\n")
		testkit.Must(t, err)
		nc, err := net.Dial("tcp", d.addr)
		testkit.Must(t, err)
		defer nc.Close()
		say(t, nc, "get of-a-watcher\r\n", "END\r\n")
		say(t, nc, "set end 0 0 1\r\nx\r\n", "STORED\r\n")
		w.until("key=end")
		if len(w.lines) != 1 {
			t.Errorf("%s: the watcher read %q", d.name, w.lines)
		}
	}
}

// TestLinesAreCounted: written by the workers and sent to the watchers, and a reset begins anew.
func TestLinesAreCounted(t *testing.T) {
	t.Parallel()
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		one, two := watch(t, d, "fetchers"), watch(t, d, "fetchers mutations")
		nc, err := net.Dial("tcp", d.addr)
		testkit.Must(t, err)
		defer nc.Close()
		say(t, nc, "get a\r\n", "END\r\n")
		say(t, nc, "set a 0 0 1\r\nx\r\n", "STORED\r\n") // looks, and stores
		one.until("")
		one.until("")
		for range 3 {
			two.until("")
		}
		have := general(t, d)
		for name, want := range map[string]string{
			"log_worker_dropped": "0", "log_worker_written": "3", "log_watcher_skipped": "0", "log_watcher_sent": "5", "log_watchers": "2",
		} {
			if have[name] != want {
				t.Errorf("%s: %s is %q, want %q", d.name, name, have[name], want)
			}
		}
		say(t, nc, "stats reset\r\n", "RESET\r\n")
		if have := general(t, d); have["log_worker_written"] != "0" || have["log_watcher_sent"] != "0" || have["log_watchers"] != "2" {
			t.Errorf("%s: after a reset %v", d.name, have)
		}
	}
}

// A watcher is a client that watches.
type watcher struct {
	t     *testing.T
	nc    net.Conn
	in    *bufio.Reader
	lines []string // that have come
	begun string   // the beginning of a line whose end has not come
}

// watch makes a watcher, once the server has confirmed it.
func watch(t *testing.T, d *daemon, events string) *watcher {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	testkit.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	say(t, nc, strings.TrimSuffix("watch "+events, " ")+"\r\n", "OK\r\n")
	return &watcher{t: t, nc: nc, in: bufio.NewReader(nc)}
}

// until reads lines up to the first that contains part.
func (w *watcher) until(part string) {
	w.t.Helper()
	for {
		line, err := w.in.ReadString('\n')
		line, w.begun = w.begun+line, ""
		if err != nil {
			w.t.Fatalf("no line with %q: %v; lines before: %q", part, err, w.lines)
		}
		w.lines = append(w.lines, strings.TrimSuffix(line, "\n"))
		if strings.Contains(line, part) {
			return
		}
	}
}

// awaitLines waits until the server writes lines for the watcher: memcached confirms a watch before it has told its threads.
func (w *watcher) awaitLines(d *daemon) {
	w.t.Helper()
	for try := range 100 {
		key := fmt.Sprintf("await-%d-", try)
		_, err := difftest.Stream(d.addr, []byte("set "+key+" 0 0 1\r\nx\r\n"), 100)
		testkit.Must(w.t, err)
		if w.sees(key) {
			return
		}
	}
	w.t.Fatalf("%s: there are no lines", d.name)
}

// sees reports whether a line that contains part comes within a moment. It reads the lines before.
func (w *watcher) sees(part string) bool {
	testkit.Must(w.t, w.nc.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	defer func() { testkit.Must(w.t, w.nc.SetReadDeadline(time.Now().Add(testTimeout))) }()
	for {
		text, err := w.in.ReadString('\n')
		w.begun += text
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		testkit.Must(w.t, err)
		line := w.begun
		w.begun = ""
		if strings.Contains(line, part) {
			return true
		}
	}
}

// answer reads a line from another connection.
func (w *watcher) answer(t *testing.T, nc net.Conn) string {
	t.Helper()
	line, err := bufio.NewReaderSize(nc, 16).ReadString('\n')
	testkit.Must(t, err)
	return line
}

// say sends a request and wants exactly the answer.
func say(t *testing.T, nc net.Conn, request, want string) {
	t.Helper()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	_, err := io.WriteString(nc, request)
	testkit.Must(t, err)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Fatalf("%.100q is answered with %q, %v; want %q", request, got[:n], err, want)
	}
}

// linesOf are the lines that a watcher reads while the commands are carried out.
func linesOf(t *testing.T, d *daemon, events string, commands []byte) []string {
	t.Helper()
	// How long memcached knows an item that was flushed is a matter of chance, but a look-up removes it.
	_, err := difftest.Stream(d.addr, []byte("flush_all\r\nget a b bad cas counted e empty f i m made missing n no none q quiet v w \xe9%20/~-_.!*()\r\nmg AAEC b\r\n"), 1000)
	testkit.Must(t, err)
	for time.Now().Nanosecond() > 500_000_000 { // the second from which a time to live is counted must not change meanwhile
		time.Sleep(10 * time.Millisecond)
	}
	w := watch(t, d, events)
	w.awaitLines(d)
	_, err = difftest.Stream(d.addr, commands, len(commands))
	testkit.Must(t, err)
	_, err = difftest.Stream(d.addr, []byte("set the-end 0 0 1\r\nx\r\n"), 100)
	testkit.Must(t, err)
	w.until("key=the-end")
	testkit.Must(t, w.nc.Close())
	w.lines = slices.DeleteFunc(w.lines, func(line string) bool { return strings.Contains(line, "key=await-") }) // those that came late
	return masked(w.lines[:len(w.lines)-1])
}

// own matches the parts of lines that differ between two servers.
var own = regexp.MustCompile(`(^ts=)\d+\.\d+|( gid=)\d+|( clsid=)[1-9]\d*|( cfd=)\d+|( rport=)\d+`)

// masked returns the lines without the parts that differ between servers.
func masked(lines []string) (all []string) {
	for _, line := range lines {
		all = append(all, own.ReplaceAllString(line, "${1}${2}${3}${4}${5}N"))
	}
	return all
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		var ours, theirs string
		if i < len(got) {
			ours = got[i]
		}
		if i < len(want) {
			theirs = want[i]
		}
		if ours != theirs {
			t.Errorf("line %d is\n     %s\nwant %s", i+1, ours, theirs)
		}
	}
}

// general are the general statistics.
func general(t *testing.T, d *daemon) map[string]string {
	t.Helper()
	have, _ := statistics(t, d, "stats")
	return have
}

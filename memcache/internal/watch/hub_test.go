package watch_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/memcache/internal/watch"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// testTimeout is the time after which a test fails if something that should happen at once has not happened.
const testTimeout = time.Minute

// client is a Sink whose results the test determines.
type client struct {
	mu      sync.Mutex
	text    strings.Builder
	pending int   // bytes that it has not taken
	longest int   // bytes that were written at once
	refusal error // of Write
	writes  chan struct{}
}

func newClient() *client { return &client{writes: make(chan struct{}, 1)} }

func (c *client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending
}

func (c *client) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.writes <- struct{}{}:
	default:
	}
	c.longest = max(c.longest, len(p))
	if c.refusal != nil {
		return 0, c.refusal
	}
	return c.text.Write(p)
}

func (c *client) set(pending int, refusal error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending, c.refusal = pending, refusal
}

// lines returns the lines received.
func (c *client) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.SplitAfter(c.text.String(), "\n")[:strings.Count(c.text.String(), "\n")]
}

// until waits until the last line contains part.
func (c *client) until(t *testing.T, part string) []string {
	t.Helper()
	for deadline := time.After(testTimeout); ; {
		if all := c.lines(); len(all) > 0 && strings.Contains(all[len(all)-1], part) {
			return all
		}
		select {
		case <-c.writes:
		case <-deadline:
			t.Fatalf("no line with %q among %q", part, c.lines())
		}
	}
}

func add(t *testing.T, h *watch.Hub, c *client, e watch.Events) *watch.Watcher {
	t.Helper()
	w, err := h.Add(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func get(b *watch.Buffer, key string) {
	b.Get(&watch.Get{Key: []byte(key), Status: "found", Class: 1, FD: 7, Size: 5})
}

// TestEachWatcherReceivesTheRequestedEvents, and none from before it was added or after it was removed.
func TestEachWatcherReceivesTheRequestedEvents(t *testing.T) {
	h := watch.NewHub(4096, 4096)
	defer h.Close()
	b := h.NewBuffer()
	get(b, "before")
	gets, both := newClient(), newClient()
	w := add(t, h, gets, watch.Fetchers)
	add(t, h, both, watch.Fetchers|watch.Connections)
	if !h.Wants(watch.Fetchers) || !h.Wants(watch.Connections) || h.Wants(watch.Mutations|watch.Evictions) {
		t.Error("the hub does not want what its watchers have asked for")
	}
	get(b, "a")
	b.Opened(&watch.Connection{Host: "::1", Port: 9, Transport: "tcp", FD: 3})
	get(b, "b")
	gets.until(t, "key=b ")
	all := strings.Join(both.until(t, "key=b "), "")
	if form := regexp.MustCompile(`^ts=\d+\.\d+ gid=2 type=item_get key=a status=found clsid=1 cfd=7 size=5\nts=\S+ gid=3 type=conn_new rip=::1 rport=9 ` +
		`transport=tcp cfd=3\nts=\S+ gid=4 type=item_get key=b status=found clsid=1 cfd=7 size=5\n$`); !form.MatchString(all) {
		t.Errorf("the lines are\n%s", all)
	}
	h.Remove(w)
	get(b, "c")
	both.until(t, "key=c ")
	if n := len(gets.lines()); n != 2 {
		t.Errorf("the watcher that has asked for item_get has read %d lines, want 2: %q", n, gets.lines())
	}
}

// TestLinesOfManySourcesAreSentInTheOrderOfTheirNumbers, each once.
func TestLinesOfManySourcesAreSentInTheOrderOfTheirNumbers(t *testing.T) {
	const sources, lines = 4, 30
	h := watch.NewHub(64<<10, 1<<20)
	defer h.Close()
	c := newClient()
	add(t, h, c, watch.Fetchers)
	var all sync.WaitGroup
	for i := range sources {
		b := h.NewBuffer()
		all.Go(func() {
			for j := range lines {
				get(b, fmt.Sprintf("%d/%d", i, j))
			}
			h.Retire(b)
		})
	}
	all.Wait()
	got := c.until(t, "\n")
	if len(got) != sources*lines {
		t.Fatalf("%d lines, want %d", len(got), sources*lines)
	}
	last := make([]int, sources)
	for _, line := range got {
		var source, n int
		_, rest, _ := strings.Cut(line, "key=")
		if _, err := fmt.Sscanf(strings.ReplaceAll(rest, "%2F", " "), "%d %d", &source, &n); err != nil || n != last[source] {
			t.Fatalf("line %d of source %d comes where %d is due (%v)", n, source, last[source], err)
		}
		last[source]++
	}
}

// TestAWatcherThatDoesNotReadSkipsLines, receives their number before the next line, and delays no other watcher.
func TestAWatcherThatDoesNotReadSkipsLines(t *testing.T) {
	h := watch.NewHub(1<<20, 2048)
	defer h.Close()
	b := h.NewBuffer()
	slow, quick := newClient(), newClient()
	slow.set(2048, nil)
	add(t, h, slow, watch.Fetchers)
	add(t, h, quick, watch.Fetchers)
	for i := range 50 {
		get(b, strconv.Itoa(i))
		quick.until(t, fmt.Sprintf("key=%d ", i))
	}
	if got := slow.lines(); len(got) != 0 {
		t.Errorf("a client that takes nothing was given %q", got)
	}
	slow.set(0, nil)
	get(b, "room")
	if got := slow.until(t, "key=room "); got[0] != "skipped=50\n" || len(got) != 2 {
		t.Errorf("the slow one reads %q", got)
	}
	slow.set(0, errors.New("the whole server is full"))
	get(b, "refused")
	quick.until(t, "key=refused ")
	slow.set(0, nil)
	get(b, "last")
	if got := slow.until(t, "key=last "); got[2] != "skipped=1\n" || len(got) != 4 {
		t.Errorf("the slow one reads %q", got)
	}
	if n := h.Counts(); n != (watch.Counts{Written: 53, Sent: 53 + 2, Skipped: 51}) {
		t.Errorf("%+v", n)
	}
}

// TestABatchIsNeverLongerThanAWatchersRoom, including the note about skipped lines.
func TestABatchIsNeverLongerThanAWatchersRoom(t *testing.T) {
	const room = 1000
	h := watch.NewHub(1<<20, room)
	defer h.Close()
	b := h.NewBuffer()
	c := newClient()
	add(t, h, c, watch.Fetchers)
	for i := range 1000 {
		get(b, strconv.Itoa(i))
	}
	h.Retire(b) // delivers
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := h.Counts(); n.Sent+n.Skipped != 1000 || n.Sent == 0 || c.longest > room {
		t.Errorf("%+v; the longest write was %d bytes, want %d at most", n, c.longest, room)
	}
}

// TestABufferThatIsFullDropsLines and counts them. Writing does not wait.
func TestABufferThatIsFullDropsLines(t *testing.T) {
	h := watch.NewHub(2048, 1<<20)
	defer h.Close()
	b := h.NewBuffer() // there is no watcher, so the hub does not take anything
	for range 100 {
		get(b, "k")
	}
	n := h.Counts()
	if n.Written == 0 || n.Dropped == 0 || n.Written+n.Dropped != 100 {
		t.Errorf("%+v", n)
	}
}

// TestTooManyWatchersAreRefused, and every watcher after Close.
func TestTooManyWatchersAreRefused(t *testing.T) {
	h := watch.NewHub(4096, 4096)
	for range watch.MaxWatchers {
		add(t, h, newClient(), watch.Mutations)
	}
	if _, err := h.Add(newClient(), watch.Fetchers); !errors.Is(err, watch.ErrTooMany) || h.Wants(watch.Fetchers) {
		t.Errorf("one more: %v", err)
	}
	h.Close()
	h.Close()
	if _, err := h.Add(newClient(), watch.Fetchers); !errors.Is(err, watch.ErrClosed) || h.Watchers() != 0 || h.Wants(watch.Mutations) {
		t.Errorf("after Close: %v, %d watchers", err, h.Watchers())
	}
}

// TestALineAllocatesNothing, neither when it is written nor when it is delivered.
func TestALineAllocatesNothing(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("the race detector allocates")
	}
	h := watch.NewHub(4096, 4096)
	defer h.Close()
	b := h.NewBuffer()
	c := silent{}
	if _, err := h.Add(c, watch.Fetchers|watch.Mutations|watch.Evictions); err != nil {
		t.Fatal(err)
	}
	key := []byte("key/of:an item")
	lines := func() {
		b.Get(&watch.Get{Key: key, Status: "found"})
		b.Store(&watch.Store{Key: key, Status: "stored", Command: "set"})
		b.Eviction(&watch.Eviction{Key: key})
	}
	for range 1000 {
		lines() // until all buffers have their size
	}
	if n := testing.AllocsPerRun(1000, lines); n >= 1 {
		t.Errorf("three lines allocate %v times", n)
	}
}

// silent is a Sink that accepts and ignores all lines.
type silent struct{}

func (silent) Pending() int                { return 0 }
func (silent) Write(p []byte) (int, error) { return len(p), nil }

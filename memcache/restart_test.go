package memcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// restarted returns a new cache, some seconds later, that has loaded the saved items.
func (r *running) restarted(t *testing.T, later int64, c memcache.Config) (*running, memcache.Loaded) {
	t.Helper()
	var file bytes.Buffer
	_, err := r.Save(&file)
	testkit.Must(t, err)
	return loaded(t, &file, later, c)
}

func loaded(t *testing.T, file io.Reader, later int64, c memcache.Config) (*running, memcache.Loaded) {
	t.Helper()
	next := start(t, c)
	next.clock.add(later)
	done, err := next.Load(file)
	testkit.Must(t, err)
	return next, done
}

// valueOf is the answer to a request for a value of one line, in the form of ask.
func (c *client) valueOf(request string) string {
	c.t.Helper()
	c.send(request)
	head, err := c.r.ReadString('\n')
	testkit.Must(c.t, err)
	value, err := c.r.ReadString('\n')
	testkit.Must(c.t, err)
	return strings.TrimSpace(head) + "|" + strings.TrimSpace(value)
}

func wantLoaded(t *testing.T, got, want memcache.Loaded) {
	t.Helper()
	if got != want {
		t.Errorf("loaded %+v, want %+v", got, want)
	}
}

// A restart keeps items of each kind: with flags, without a value, small, large, stale, and with a key in base64.
func TestARestartKeepsItems(t *testing.T) {
	old := start(t, memcache.Config{})
	c := old.connect(t)
	large := strings.Repeat("0123456789", 90_000)
	c.ask("set flags 4294967295 0 5|value|set empty 0 0 0||set small 0 0 3|\r\n!|set large 7 0 900000|"+large, "STORED|STORED|STORED|STORED")
	c.ask("ms stale 1|x|md stale I|ms alike 1|x|md alike I", "HD|HD|HD|HD")
	first, second := c.valueOf("mg alike v"), c.valueOf("mg alike v") // as the client that is to fetch it anew, and as another one
	c.ask("ms Zm9vCg== 3 b|bar|set seen 0 0 1|x|get seen", "HD|STORED|VALUE seen 0 1|x|END")
	c.send("gets small")
	line, err := c.r.ReadString('\n')
	testkit.Must(t, err)
	var unique uint64
	_, err = fmt.Sscanf(line, "VALUE small 0 3 %d", &unique)
	testkit.Must(t, err)
	c.expect("", "!", "END")

	r, done := old.restarted(t, 5, memcache.Config{})
	wantLoaded(t, done, memcache.Loaded{Items: 8})
	c = r.connect(t)
	c.ask("get flags empty large", "VALUE flags 4294967295 5|value|VALUE empty 0 0||VALUE large 7 900000|"+large+"|END")
	c.ask("mg stale v|mg stale v|mg alike v", strings.Join([]string{first, second, second}, "|"))
	c.ask("mg Zm9vCg== b k v", "VA 3 kZm9vCg== b|bar")
	c.ask("mg seen h|mg flags t h|mg small c", fmt.Sprintf("HD h1|HD t-1 h1|HD c%d", unique))
	c.ask(fmt.Sprintf("cas small 0 0 1 %d|x|cas small 0 0 1 %d|y", unique, unique), "STORED|EXISTS")
}

// TestARestartKeepsExpiryTimes, whether items expire before the new start or later.
func TestARestartKeepsExpiryTimes(t *testing.T) {
	old := start(t, memcache.Config{})
	old.connect(t).ask("set never 0 0 1|x|set soon 0 10 1|x|set later 0 100 1|x", "STORED|STORED|STORED")
	r, done := old.restarted(t, 10, memcache.Config{})
	wantLoaded(t, done, memcache.Loaded{Items: 2, Expired: 1})
	c := r.connect(t)
	c.ask("get never soon later|mg never t|mg later t", "VALUE never 0 1|x|VALUE later 0 1|x|END|HD t-1|HD t90")
	r.clock.add(90)
	c.ask("get never later", "VALUE never 0 1|x|END")
}

// TestARestartKeepsAPendingFlush, whether its time is before the new start or later.
func TestARestartKeepsAPendingFlush(t *testing.T) {
	for _, away := range []int64{5, 9, 15} {
		old := start(t, memcache.Config{})
		old.connect(t).ask("set a 0 0 1|x|flush_all 10", "STORED|OK")
		r, done := old.restarted(t, away, memcache.Config{})
		c := r.connect(t)
		if away < 9 {
			wantLoaded(t, done, memcache.Loaded{Items: 1})
			c.ask("get a", "VALUE a 0 1|x|END")
			again, _ := r.restarted(t, away+2, memcache.Config{}) // it is kept over several
			again.connect(t).ask("get a", "VALUE a 0 1|x|END")
			again.clock.add(5)
			again.connect(t).ask("get a", "END")
			r.clock.add(5)
			c.ask("get a|set a 0 0 1|y|get a", "END|STORED|VALUE a 0 1|y|END")
			continue
		}
		wantLoaded(t, done, memcache.Loaded{Expired: 1})
		c.ask("get a|set a 0 0 1|y|get a", "END|STORED|VALUE a 0 1|y|END")
	}
	old := start(t, memcache.Config{})
	old.connect(t).ask("flush_all 10|flush_all|set a 0 0 1|x", "OK|OK|STORED") // none is left to come
	r, _ := old.restarted(t, 20, memcache.Config{})
	r.connect(t).ask("get a", "VALUE a 0 1|x|END")
}

// TestUniqueNumbersContinueAfterARestart: a number from before the restart is not given to another value.
func TestUniqueNumbersContinueAfterARestart(t *testing.T) {
	old := start(t, memcache.Config{})
	c := old.connect(t)
	c.ask("set a 0 0 1|x|set b 0 0 1|x|delete b|gets a", "STORED|STORED|DELETED|VALUE a 0 1 1|x|END")
	r, _ := old.restarted(t, 0, memcache.Config{})
	c = r.connect(t)
	c.ask("set b 0 0 1|y|cas b 0 0 1 2|z", "STORED|EXISTS")
	c.ask("cas a 0 0 1 1|z", "STORED")
	without, _ := old.restarted(t, 0, memcache.Config{NoCAS: true})
	without.connect(t).ask("gets a", "VALUE a 0 1 0|x|END")
	with, _ := without.restarted(t, 0, memcache.Config{})
	with.connect(t).ask("gets a", "VALUE a 0 1 1|x|END")
}

// TestARestartWithLessMemory omits items that are too large, and evicts or refuses items that do not fit.
func TestARestartWithLessMemory(t *testing.T) {
	old := start(t, memcache.Config{})
	c := old.connect(t)
	c.ask("set large 0 0 500000|"+strings.Repeat("x", 500_000), "STORED")
	value := strings.Repeat("y", 10_000)
	for i := range 1000 {
		c.ask(fmt.Sprintf("set k%d 0 0 10000|%s", i, value), "STORED")
	}
	_, done := old.restarted(t, 0, memcache.Config{MaxItem: 100_000})
	wantLoaded(t, done, memcache.Loaded{Items: 1000, Refused: 1})
	r, done := old.restarted(t, 0, memcache.Config{Memory: 4 << 20})
	if n := r.Store().Stats().Items; done.Items+done.Refused != 1001 || done.Refused > 1 || n < 200 || n > 500 {
		t.Errorf("%d items in 4 MB, loaded %+v", n, done)
	}
	r, done = old.restarted(t, 0, memcache.Config{Memory: 4 << 20, NoEvict: true})
	if n := r.Store().Stats().Items; done.Items+done.Refused != 1001 || int(n) != done.Items || n < 200 {
		t.Errorf("%d items in 4 MB without eviction, loaded %+v", n, done)
	}
}

// TestDamagedDataIsNotLoaded: the cache is empty afterwards, and works.
func TestDamagedDataIsNotLoaded(t *testing.T) {
	old := start(t, memcache.Config{})
	c := old.connect(t)
	for i := range 100 {
		c.ask(fmt.Sprintf("set k%d 0 0 100|%s", i, strings.Repeat("y", 100)), "STORED")
	}
	var file bytes.Buffer
	n, err := old.Save(&file)
	if err != nil || n != 100 {
		t.Fatalf("saved %d items, %v", n, err)
	}
	changed, newer := bytes.Clone(file.Bytes()), bytes.Clone(file.Bytes())
	changed[len(changed)-200] ^= 1
	newer[8]++
	failed := errors.New("the disk fails")
	for name, row := range map[string]struct {
		from io.Reader
		want error
	}{
		"cut short": {bytes.NewReader(file.Bytes()[:file.Len()-10]), memcache.ErrDamaged},
		"changed":   {bytes.NewReader(changed), memcache.ErrDamaged},
		"newer":     {bytes.NewReader(newer), memcache.ErrVersion},
		"foreign":   {strings.NewReader("no items"), memcache.ErrForeign},
		"failing":   {io.MultiReader(bytes.NewReader(file.Bytes()[:5000]), iotest.ErrReader(failed)), failed},
	} {
		r := start(t, memcache.Config{})
		done, err := r.Load(row.from)
		if !errors.Is(err, row.want) || done != (memcache.Loaded{}) {
			t.Errorf("%s: %+v, %v; want %v", name, done, err, row.want)
		}
		if n := r.Store().Stats().Items; n != 0 {
			t.Errorf("%s: %d items are left", name, n)
		}
		r.connect(t).ask("get k1|set k1 0 0 1|x|get k1", "END|STORED|VALUE k1 0 1|x|END")
	}
}

// TestAnErrorOfTheWriterEndsSave, which returns it.
func TestAnErrorOfTheWriterEndsSave(t *testing.T) {
	r := start(t, memcache.Config{})
	r.connect(t).ask("set large 0 0 500000|"+strings.Repeat("x", 500_000), "STORED")
	read, write := io.Pipe()
	full := errors.New("the disk is full")
	testkit.Must(t, read.CloseWithError(full))
	if _, err := r.Save(write); !errors.Is(err, full) {
		t.Errorf("Save: %v", err)
	}
}

// TestSaveNeedsTheMemoryOfOneItem, and not that of all items, which have 40 MB.
func TestSaveNeedsTheMemoryOfOneItem(t *testing.T) {
	r := start(t, memcache.Config{})
	value := make([]byte, 4000)
	for i := range 10_000 {
		e := r.Store().Lock(fmt.Appendf(nil, "key%d", i))
		testkit.Must(t, e.Put(store.Meta{}, value))
		e.Unlock()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := r.Save(io.Discard)
	testkit.Must(t, err)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; n != 10_000 || took > 4<<20 {
		t.Errorf("%d items by %d bytes of memory", n, took)
	}
}

// After Load of any data the cache works, and it is empty if Load returned an error.
func FuzzLoad(f *testing.F) {
	old, err := memcache.New(&memcache.Config{Clock: newClock()})
	testkit.Must(f, err)
	defer old.Close()
	for i := range 4 {
		var file bytes.Buffer
		_, err := old.Save(&file)
		testkit.Must(f, err)
		f.Add(file.Bytes())
		e := old.Store().Lock(fmt.Appendf(nil, "key%d", i))
		testkit.Must(f, e.Put(store.Meta{Flags: uint32(i), Bits: uint8(i)}, bytes.Repeat([]byte("v"), 10_000*i)))
		e.Unlock()
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		cache, err := memcache.New(&memcache.Config{Memory: 2 << 20, MaxItem: 100_000, Clock: newClock()})
		testkit.Must(t, err)
		defer cache.Close()
		done, err := cache.Load(bytes.NewReader(file))
		if n := cache.Store().Stats().Items; err != nil && n != 0 || int(n) > done.Items {
			t.Errorf("%v, %+v, and %d items", err, done, n)
		}
		var again bytes.Buffer
		n, err := cache.Save(&again)
		if err != nil || int64(n) != cache.Store().Stats().Items {
			t.Errorf("saved %d items, %v", n, err)
		}
	})
}

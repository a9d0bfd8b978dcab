package memcache_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// list reads lines up to END.
func (c *client) list() (lines []string) {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		testkit.Must(c.t, err)
		if line == "END\r\n" {
			return lines
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
}

// classes returns the numbers of items in stats items, by class.
func (c *client) classes() map[int]int {
	c.t.Helper()
	all := map[int]int{}
	for name, value := range c.stats("items") {
		var class, items int
		if n, _ := fmt.Sscanf(name, "items:%d:number", &class); n == 1 && strings.HasSuffix(name, ":number") {
			_, err := fmt.Sscan(value, &items)
			testkit.Must(c.t, err)
			all[class] = items
		}
	}
	return all
}

// TestACachedumpListsTheKeysOfOneClass, by the numbers that stats items shows, with the lengths of values and the times of expiry.
func TestACachedumpListsTheKeysOfOneClass(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	want := map[string]bool{}
	for i, size := range []int{0, 1, 10, 200, 300, 5000, 100_000, 900_000} {
		c.ask(fmt.Sprintf("set k%d 0 %d %d|%s", i, i*100, size, strings.Repeat("v", size)), "STORED")
		expires := 0
		if i > 0 {
			expires = startTime + i*100
		}
		want[fmt.Sprintf("ITEM k%d [%d b; %d s]", i, size, expires)] = true
	}
	c.ask("ms YmluYXJ5IGtleQ== 1 b|x", "HD") // left out
	classes := c.classes()
	if len(classes) < 5 {
		t.Fatalf("the classes are %v", classes)
	}
	shown := 0
	for class, items := range classes {
		c.send(fmt.Sprintf("stats cachedump %d 0", class))
		lines := c.list()
		for _, line := range lines {
			if !want[line] {
				t.Errorf("class %d: %q", class, line)
			}
			delete(want, line)
		}
		if shown += len(lines); len(lines) > items {
			t.Errorf("class %d has %d items, and %d are listed", class, items, len(lines))
		}
		c.send(fmt.Sprintf("stats cachedump %d 1", class))
		if lines := c.list(); len(lines) > 1 {
			t.Errorf("class %d: %d lines, with a limit of 1", class, len(lines))
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	for _, request := range []string{"stats cachedump 0 0", "stats cachedump 63 0", "stats cachedump 62 9 more"} {
		c.ask(request, "END")
	}
}

// TestSmallItemsAreInClass1 up to 96 bytes, as in memcached, where programs look for them.
func TestSmallItemsAreInClass1(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	for _, size := range []int{1, 10, 20, 30} {
		c.ask(fmt.Sprintf("set k%d 0 0 %d|%s|get k%[1]d", size, size, strings.Repeat("v", size)), fmt.Sprintf("STORED|VALUE k%d 0 %d|%s|END", size, size, strings.Repeat("v", size)))
	}
	if got := fmt.Sprint(c.classes()); got != "map[1:4]" {
		t.Errorf("the classes are %s", got)
	}
	slabs := c.stats("slabs")
	for name, want := range map[string]string{"1:chunk_size": "96", "1:used_chunks": "4", "1:cmd_set": "4", "1:get_hits": "4", "active_slabs": "1"} {
		if slabs[name] != want {
			t.Errorf("%s is %q, want %q", name, slabs[name], want)
		}
	}
	c.ask("stats reset", "RESET")
	if slabs := c.stats("slabs"); slabs["1:cmd_set"] != "0" || slabs["1:used_chunks"] != "4" {
		t.Errorf("after a reset: %v", slabs)
	}
	c.ask(fmt.Sprintf("set larger 0 0 100|%s", strings.Repeat("v", 100)), "STORED")
	if classes := c.classes(); classes[1] != 4 || len(classes) != 2 {
		t.Errorf("the classes are %v", classes)
	}
}

// TestACachedumpEndsAt2MB, and the connection serves the next request.
func TestACachedumpEndsAt2MB(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	const items = 20_000
	pad := strings.Repeat("k", 200)
	var b strings.Builder
	for i := range items {
		fmt.Fprintf(&b, "set %s%05d 0 0 1 noreply\r\nx\r\n", pad, i)
	}
	c.send(b.String() + "mn")
	c.expect("MN")
	classes := c.classes()
	if len(classes) != 1 {
		t.Fatalf("the classes are %v", classes)
	}
	for class := range classes {
		c.send(fmt.Sprintf("stats cachedump %d 0", class), "mn")
		lines := c.list()
		c.expect("MN")
		length := len("END\r\n")
		for _, line := range lines {
			length += len(line) + len("\r\n")
		}
		if line := len(lines[0]) + len("\r\n"); length >= 2<<20 || length+line < 2<<20 {
			t.Errorf("the answer has %d bytes, with lines of %d", length, line)
		}
	}
}

// TestAMetadumpListsTheRequestedClasses, and an item's class in it is the one that stats items counts it in.
func TestAMetadumpListsTheRequestedClasses(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	for i, size := range []int{1, 300, 5000, 100_000} {
		c.ask(fmt.Sprintf("set k%d 0 0 %d|%s", i, size, strings.Repeat("v", size)), "STORED")
	}
	dump := func(classes string) map[int]int {
		c.send("lru_crawler metadump " + classes)
		all := map[int]int{}
		for _, line := range c.list() {
			var key, cas, fetched string
			var expires, access, class int
			_, err := fmt.Sscanf(line, "key=%s exp=%d la=%d cas=%s fetch=%s cls=%d", &key, &expires, &access, &cas, &fetched, &class)
			testkit.Must(t, err)
			all[class]++
		}
		return all
	}
	want := fmt.Sprint(c.classes())
	for _, classes := range []string{"all", "hash"} {
		if got := fmt.Sprint(dump(classes)); got != want {
			t.Errorf("metadump %s has %v, and stats items %v", classes, got, want)
		}
	}
	var list []string
	for class := range c.classes() {
		if got := fmt.Sprint(dump(fmt.Sprint(class))); got != fmt.Sprint(map[int]int{class: 1}) {
			t.Errorf("metadump %d has %v", class, got)
		}
		list = append(list, fmt.Sprint(class))
	}
	if got := fmt.Sprint(dump(strings.Join(list, ","))); got != want {
		t.Errorf("metadump of the classes has %v, and stats items %v", got, want)
	}
	c.ask("lru_crawler metadump 63|lru_crawler metadump 64|lru_crawler metadump 0|lru_crawler metadump 1,x|lru_crawler metadump ,",
		"END|BADCLASS invalid class id|BADCLASS invalid class id|BADCLASS invalid class id|NOTSTARTED no items to crawl")
	c.send("me k2")
	line, err := c.r.ReadString('\n')
	testkit.Must(t, err)
	_, behind, _ := strings.Cut(line, "cls=")
	class := 0
	if _, err := fmt.Sscanf(behind, "%d", &class); err != nil || c.classes()[class] != 1 {
		t.Errorf("%q: class %d, %v", line, class, err)
	}
}

// TestListsCanBeForbidden by Config.NoDump, and are refused in datagrams.
func TestListsCanBeForbidden(t *testing.T) {
	c := start(t, memcache.Config{NoDump: true}).connect(t)
	c.ask("stats cachedump 1 0|stats cachedump|lru_crawler metadump all",
		"CLIENT_ERROR stats cachedump not allowed|CLIENT_ERROR stats cachedump not allowed|ERROR metadump not allowed")
	r := start(t, memcache.Config{})
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	for request, answer := range map[string]string{
		"stats cachedump 1 0": "CLIENT_ERROR stats cachedump needs a connection\r\n", "lru_crawler metadump all": "ERROR metadump needs a connection\r\n",
	} {
		_, err = fmt.Fprintf(nc, "\x00\x01\x00\x00\x00\x01\x00\x00%s\r\n", request)
		testkit.Must(t, err)
		p := make([]byte, 2000)
		n, err := bufio.NewReader(nc).Read(p)
		testkit.Must(t, err)
		if got := string(p[8:n]); got != answer {
			t.Errorf("%s: %q", request, got)
		}
	}
}

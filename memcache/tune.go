package memcache

import (
	"strconv"
	"strings"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// The commands of this file configure parts of memcached that this cache does not have: slabs, LRU lists, the LRU crawler, and storage on disk.
// They are answered as by memcached, and stats settings shows their effect; nothing else depends on them.

// refuse is the answer to a command with invalid arguments.
const refuse = string(protocol.Unknown)

// ends reports whether word is the last one of the command.
func (w *worker) ends(word string) bool {
	args := w.req.Args
	return string(args[len(args)-1]) == word
}

// textSlabs serves slabs.
func (w *worker) textSlabs() {
	args := w.req.Args
	switch {
	case len(args) == 4 && string(args[1]) == "reassign":
		w.line(w.reassign(args[2], args[3]))
	case len(args) >= 3 && string(args[1]) == "automove":
		w.req.NoReply = w.ends("noreply")
		w.unlessQuiet(w.automove(args[2:]))
	default:
		w.line(refuse)
	}
}

// reassign returns the answer to slabs reassign. The pages of a class are those in stats slabs.
func (c *Cache) reassign(from, to []byte) string {
	src, ok := protocol.ParseInt32(from)
	dst, second := protocol.ParseInt32(to)
	switch {
	case !c.tuning.on("slab_reassign"):
		return "CLIENT_ERROR slab reassignment disabled"
	case !ok || !second:
		return string(protocol.BadFormat)
	case src == dst:
		return "SAME src and dst class are identical"
	}
	classes := c.sizeClasses()
	pages := func(class int32) int64 {
		if class == 0 { // the pages without a class
			return 0
		}
		return pagesOf(&classes[class-1])
	}
	if src == -1 { // any class that has pages to spare
		for class := int32(1); int(class) <= len(classes) && src == -1; class++ {
			if class != dst && pages(class) > 1 {
				src = class
			}
		}
	}
	switch {
	case src < 0 || int(src) > len(classes) || dst < 0 || int(dst) > len(classes):
		return "BADCLASS invalid src or dst class id"
	case pages(src) < 2:
		return "NOSPARE source class has no spare pages"
	}
	return "OK"
}

// automove returns the answer to slabs automove.
func (c *Cache) automove(args [][]byte) string {
	if string(args[0]) == "ratio" {
		if len(args) < 2 {
			return refuse
		}
		return c.tuneDecimal("slab_automove_ratio", args[1])
	}
	level, ok := protocol.ParseUint32(args[0])
	switch {
	case !ok:
		return string(protocol.BadFormat)
	case level > 2:
		return refuse
	}
	c.tuning.set("slab_automove", strconv.Itoa(int(level)))
	return "OK"
}

func (c *Cache) tuneDecimal(name string, word []byte) string {
	n, ok := protocol.ParseDecimal(word)
	if !ok {
		return refuse
	}
	c.tuning.set(name, twoDecimals(n))
	return "OK"
}

// twoDecimals formats a ratio for stats settings.
func twoDecimals(n float64) string {
	return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(n, 'f', 2, 64)), "+") // inf and nan
}

// signed formats a number for stats settings as a signed number of 32 bits.
func signed(n uint32) string { return strconv.Itoa(int(int32(n))) }

// textLRU serves lru.
func (w *worker) textLRU() {
	w.req.NoReply = w.ends("noreply")
	args := w.req.Args
	answer := refuse
	switch what := string(args[1]); {
	case what == "tune" && len(args) >= 6:
		answer = w.tuneLRU(args[2:])
	case !w.tuning.on("lru_maintainer_thread") || len(args) < 3:
	case what == "mode":
		switch mode := string(args[2]); mode {
		case "flat", "segmented":
			w.tuning.set("lru_segmented", yesNo(mode == "segmented"))
			answer = "OK"
		}
	case what == "temp_ttl":
		if ttl, ok := protocol.ParseInt32(args[2]); ok {
			w.tuning.set("temp_lru", yesNo(ttl >= 0))
			if ttl >= 0 {
				w.tuning.set("temporary_ttl", strconv.Itoa(int(ttl)))
			}
			answer = "OK"
		}
	}
	w.unlessQuiet(answer)
}

// tuneLRU returns the answer to lru tune.
func (c *Cache) tuneLRU(args [][]byte) string {
	hot, ok1 := protocol.ParseUint32(args[0])
	warm, ok2 := protocol.ParseUint32(args[1])
	hotAge, ok3 := protocol.ParseDecimal(args[2])
	warmAge, ok4 := protocol.ParseDecimal(args[3])
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4:
		return refuse
	case hot+warm > 80: // in 32 bits, as in memcached
		return "ERROR hot and warm pcts must not exceed 80"
	case hotAge <= 0 || warmAge <= 0:
		return "ERROR hot/warm age factors must be greater than 0"
	}
	c.tuning.set("hot_lru_pct", signed(hot))
	c.tuning.set("warm_lru_pct", signed(warm))
	c.tuning.set("hot_max_factor", twoDecimals(hotAge))
	c.tuning.set("warm_max_factor", twoDecimals(warmAge))
	return "OK"
}

// textCrawler serves lru_crawler. The store removes expired items without a crawler; metadump lists the keys.
func (w *worker) textCrawler() {
	args := w.req.Args
	what := ""
	if len(args) > 1 {
		what = string(args[1])
	}
	switch {
	case len(args) == 3 && what == "crawl":
		w.line(w.crawl(args[2]))
	case len(args) == 3 && what == "metadump":
		w.textMetadump(args[2])
	case len(args) == 3 && (what == "tocrawl" || what == "sleep"):
		w.line(w.tuneCrawler(what, args[2]))
	case len(args) == 2 && what == "enable":
		if w.tuning.on("lru_crawler") {
			w.line("ERROR failed to start lru crawler thread") // it is running already
			return
		}
		w.tuning.set("lru_crawler", "yes")
		w.line("OK")
	case len(args) == 2 && what == "disable":
		w.tuning.set("lru_crawler", "no")
		w.line("OK")
	default:
		w.line(refuse)
	}
}

const (
	crawlerDisabled = "CLIENT_ERROR lru crawler disabled"
	badClass        = "BADCLASS invalid class id"
	nothingToCrawl  = "NOTSTARTED no items to crawl"
)

// crawl returns the answer to lru_crawler crawl. It removes some expired items, as a tick of the clock does.
func (w *worker) crawl(classes []byte) string {
	if !w.tuning.on("lru_crawler") {
		return crawlerDisabled
	}
	if string(classes) == "hash" { // valid for metadump only
		return "ERROR an unknown error happened"
	}
	switch _, none, ok := parseClasses(classes); {
	case !ok:
		return badClass
	case none:
		return nothingToCrawl
	}
	w.counts.add(crawlerReclaimed, uint64(w.store.Reap(reapSteps)))
	return "OK"
}

// textMetadump serves lru_crawler metadump. "hash", which in memcached walks the hash table, is the same as "all".
func (w *worker) textMetadump(classes []byte) {
	switch {
	case !w.tuning.on("lru_crawler"):
		w.line(crawlerDisabled)
		return
	case w.config.NoDump:
		w.line("ERROR metadump not allowed")
		return
	case string(classes) == "hash":
		classes = []byte("all")
	}
	switch set, none, ok := parseClasses(classes); {
	case !ok:
		w.line(badClass)
	case none:
		w.line(nothingToCrawl)
	default:
		w.metadump(set)
	}
}

// tuneCrawler returns the answer to lru_crawler tocrawl and sleep.
func (c *Cache) tuneCrawler(what string, word []byte) string {
	n, ok := protocol.ParseUint32(word)
	switch {
	case !ok:
		return string(protocol.BadFormat)
	case what == "tocrawl":
		c.tuning.set("lru_crawler_tocrawl", strconv.FormatUint(uint64(n), 10))
	case n > 1_000_000: // microseconds
		return "CLIENT_ERROR sleep must be one second or less"
	default:
		c.tuning.set("lru_crawler_sleep", signed(n))
	}
	return "OK"
}

// extstoreNumbers maps the arguments of extstore with a whole number to their settings.
var extstoreNumbers = map[string]string{
	"item_size": "ext_item_size", "item_age": "ext_item_age", "low_ttl": "ext_low_ttl", "recache_rate": "ext_recache_rate",
	"compact_under": "ext_compact_under", "drop_under": "ext_drop_under", "max_sleep": "ext_max_sleep",
}

// textExtstore serves extstore.
func (w *worker) textExtstore() {
	w.req.NoReply = w.ends("noreply")
	w.unlessQuiet(w.tuneExtstore(w.req.Args))
}

// tuneExtstore returns the answer to extstore.
func (c *Cache) tuneExtstore(args [][]byte) string {
	if len(args) < 3 {
		return refuse
	}
	what := string(args[1])
	if what == "max_frag" {
		return c.tuneDecimal("ext_max_frag", args[2])
	}
	n, ok := protocol.ParseUint32(args[2])
	name := extstoreNumbers[what]
	switch {
	case !ok:
		return refuse
	case what == "free_memchunks": // memcached also accepts and ignores it
		if len(args) < 4 || n >= slabClasses {
			return refuse
		}
		if _, ok := protocol.ParseUint32(args[3]); !ok {
			return refuse
		}
	case what == "drop_unread":
		c.tuning.set("ext_drop_unread", yesNo(n != 0))
	case name == "":
		return refuse
	default:
		c.tuning.set(name, strconv.FormatUint(uint64(n), 10))
	}
	return "OK"
}

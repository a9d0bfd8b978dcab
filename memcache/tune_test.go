package memcache_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evmq/evmq/memcache"
)

// TestSettingsWithoutEffectAreAcceptedAndShown by stats settings, in the format of memcached.
func TestSettingsWithoutEffectAreAcceptedAndShown(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	for request, shown := range map[string]string{
		"slabs automove 2":             "slab_automove 2",
		"slabs automove ratio 0.555":   "slab_automove_ratio 0.56", // as printf rounds it
		"lru tune 11 22 0.5 3":         "hot_lru_pct 11,warm_lru_pct 22,hot_max_factor 0.50,warm_max_factor 3.00",
		"lru tune 10 20 inf nan":       "hot_max_factor inf,warm_max_factor nan",
		"lru tune 10 20 0x10 1e1":      "hot_max_factor 16.00,warm_max_factor 10.00",
		"lru mode flat":                "lru_segmented no",
		"lru mode segmented":           "lru_segmented yes",
		"lru temp_ttl 50":              "temp_lru yes,temporary_ttl 50",
		"lru temp_ttl -1":              "temp_lru no",
		"lru_crawler sleep 5":          "lru_crawler_sleep 5",
		"lru_crawler tocrawl 7":        "lru_crawler_tocrawl 7",
		"extstore item_age 9":          "ext_item_age 9",
		"extstore max_frag 0.25":       "ext_max_frag 0.25",
		"extstore drop_unread 3":       "ext_drop_unread yes",
		"extstore free_memchunks 1 10": "ext_item_size 512",
	} {
		c.ask(request, "OK")
		settings := c.stats("settings")
		for line := range strings.SplitSeq(shown, ",") {
			if name, value, _ := strings.Cut(line, " "); settings[name] != value {
				t.Errorf("%s: %s is %q, want %q", request, name, settings[name], value)
			}
		}
	}
}

// TestADisabledCrawlerIsNotUsed, and stats does not have its lines, as in memcached.
func TestADisabledCrawlerIsNotUsed(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	const disabled = "CLIENT_ERROR lru crawler disabled"
	c.ask("lru_crawler enable|lru_crawler disable|lru_crawler disable", "ERROR failed to start lru crawler thread|OK|OK")
	c.ask("lru_crawler crawl all|lru_crawler crawl hash|lru_crawler metadump all|lru_crawler metadump x", disabled+"|"+disabled+"|"+disabled+"|"+disabled)
	if _, ok := c.stats("")["lru_crawler_starts"]; ok || c.stats("settings")["lru_crawler"] != "no" {
		t.Error("the crawler is shown while it is disabled")
	}
	c.ask("lru_crawler enable|lru_crawler crawl all", "OK|OK")
	if _, ok := c.stats("")["lru_crawler_starts"]; !ok || c.stats("settings")["lru_crawler"] != "yes" {
		t.Error("the crawler is not shown while it is enabled")
	}
}

// TestSlabsReassignDependsOnThePagesInStatsSlabs checks the answers.
func TestSlabsReassignDependsOnThePagesInStatsSlabs(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	c.ask("set small 0 0 1|x|slabs reassign -1 2", "STORED|BADCLASS invalid src or dst class id")
	const size = 200_000
	for i := range 20 {
		c.ask(fmt.Sprintf("set large%d 0 0 %d|%s", i, size, strings.Repeat("x", size)), "STORED")
	}
	large := 0
	for class, items := range c.classes() {
		if items == 20 {
			large = class
		}
	}
	if pages := c.stats("slabs")[fmt.Sprintf("%d:total_pages", large)]; pages != "4" {
		t.Fatalf("class %d has %q pages", large, pages)
	}
	for request, answer := range map[string]string{
		fmt.Sprintf("%d 1", large):         "OK",
		fmt.Sprintf("%d 0", large):         "OK",
		"-1 1":                             "OK",
		"1 2":                              "NOSPARE source class has no spare pages",
		"0 1":                              "NOSPARE source class has no spare pages",
		"3 3":                              "SAME src and dst class are identical",
		fmt.Sprintf("-1 %d", large):        "BADCLASS invalid src or dst class id",
		fmt.Sprintf("%d 99", large):        "BADCLASS invalid src or dst class id",
		fmt.Sprintf("%d -1", large):        "BADCLASS invalid src or dst class id",
		"-2 1":                             "BADCLASS invalid src or dst class id",
		"-2147483648 2147483647":           "BADCLASS invalid src or dst class id",
		"9999999999999999999999999999 1":   "CLIENT_ERROR bad command line format",
		"1 x":                              "CLIENT_ERROR bad command line format",
		fmt.Sprintf("%d 1 noreply", large): "ERROR",
	} {
		c.ask("slabs reassign "+request, answer)
	}
	c = start(t, memcache.Config{Settings: []memcache.Setting{{Name: "slab_reassign", Value: "no"}}}).connect(t)
	c.ask("slabs reassign 1 x", "CLIENT_ERROR slab reassignment disabled")
}

// TestSettingsOfTheProgramAreShownInMemcachedsOrder, and unknown ones after them.
func TestSettingsOfTheProgramAreShownInMemcachedsOrder(t *testing.T) {
	c := start(t, memcache.Config{Settings: []memcache.Setting{{Name: "mine", Value: "5"}, {Name: "maxconns", Value: "7"}, {Name: "lru_maintainer_thread", Value: "no"}}}).connect(t)
	c.send("stats settings")
	lines := c.list()
	if lines[1] != "STAT maxconns 7" || lines[len(lines)-1] != "STAT mine 5" {
		t.Errorf("the settings are %q", lines)
	}
	c.ask("lru mode flat|lru temp_ttl 5|lru tune 10 20 1 2", "ERROR|ERROR|OK")
}

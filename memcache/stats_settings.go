package memcache

import (
	"strconv"
	"sync"
)

// settingNames are the lines of stats settings, in memcached's order. A line with a value is about a part that this cache does not have: the value
// is memcached's default, and commands may change it, without effect. The values of the others come from the cache or the program.
var settingNames = []Setting{
	{"maxbytes", ""}, {"maxconns", ""}, {"tcpport", ""}, {"udpport", ""}, {"inter", ""}, {"verbosity", ""}, {"oldest", ""},
	{"evictions", ""}, {"domain_socket", ""}, {"umask", ""}, {"shutdown_command", ""}, {"growth_factor", "1.25"}, {"chunk_size", "48"},
	{"num_threads", ""}, {"num_threads_per_udp", ""}, {"stat_key_prefix", ":"}, {"detail_enabled", ""}, {"reqs_per_event", ""},
	{"cas_enabled", ""}, {"tcp_backlog", ""}, {"binding_protocol", ""}, {"auth_enabled_sasl", ""}, {"auth_enabled_ascii", ""},
	{"item_size_max", ""}, {"maxconns_fast", ""}, {"hashpower_init", "0"}, {"slab_reassign", "yes"}, {"slab_automove", "1"},
	{"slab_automove_ratio", "0.80"}, {"slab_automove_window", "30"}, {"slab_chunk_max", "524288"}, {"lru_crawler", "yes"},
	{"lru_crawler_sleep", "100"}, {"lru_crawler_tocrawl", "0"}, {"tail_repair_time", "0"}, {"flush_enabled", ""}, {"dump_enabled", ""},
	{"hash_algorithm", "murmur3"}, {"lru_maintainer_thread", "yes"}, {"lru_segmented", "yes"}, {"hot_lru_pct", "20"},
	{"warm_lru_pct", "40"}, {"hot_max_factor", "0.20"}, {"warm_max_factor", "2.00"}, {"temp_lru", "no"}, {"temporary_ttl", "61"},
	{"idle_timeout", ""}, {"watcher_logbuf_size", ""}, {"worker_logbuf_size", ""}, {"read_buf_mem_limit", "0"},
	{"track_sizes", "no"}, {"inline_ascii_response", "no"}, {"ext_item_size", "512"}, {"ext_item_age", "4294967295"},
	{"ext_low_ttl", "0"}, {"ext_recache_rate", "2000"}, {"ext_wbuf_size", "4194304"}, {"ext_compact_under", "0"},
	{"ext_drop_under", "0"}, {"ext_max_sleep", "1000000"}, {"ext_max_frag", "0.80"}, {"slab_automove_freeratio", "0.010"},
	{"ext_drop_unread", "no"}, {"ssl_enabled", ""}, {"ssl_chain_cert", ""}, {"ssl_key", ""}, {"ssl_verify_mode", ""},
	{"ssl_keyformat", "1"}, {"ssl_ciphers", ""}, {"ssl_ca_cert", ""}, {"ssl_wbuf_size", "16384"}, {"ssl_session_cache", ""},
	{"ssl_kernel_tls", "no"}, {"ssl_min_version", ""}, {"num_napi_ids", "(null)"}, {"memory_file", "(null)"},
	{"evmq_version", ""}, // not memcached's. It is not in stats, because some programs count its lines
}

// tuning holds the settings that the cache does not use itself: the defaults of settingNames, Config.Settings, and changes by commands. Any
// goroutine.
type tuning struct {
	mu     sync.RWMutex // guards values
	values map[string]string
}

func newTuning(given []Setting) *tuning {
	t := &tuning{values: map[string]string{}}
	for _, s := range settingNames {
		if s.Value != "" {
			t.values[s.Name] = s.Value
		}
	}
	for _, s := range given {
		t.values[s.Name] = s.Value
	}
	return t
}

func (t *tuning) set(name, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[name] = value
}

// get returns the value of a setting, "" if it is not set.
func (t *tuning) get(name string) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.values[name]
}

// on reports whether a boolean setting is yes.
func (t *tuning) on(name string) bool { return t.get(name) == "yes" }

// statsSettings emits the settings with memcached's names and in its order, and then the other Config.Settings.
func (c *Cache) statsSettings(line emit) {
	own := c.ownSettings()
	named := map[string]bool{}
	for _, s := range settingNames {
		named[s.Name] = true
		value, ok := own[s.Name]
		if !ok {
			value = c.tuning.get(s.Name)
		}
		if value != "" { // otherwise it is unknown
			line(s.Name, value)
		}
	}
	for _, s := range c.config.Settings {
		if !named[s.Name] {
			line(s.Name, s.Value)
		}
	}
}

// ownSettings are the settings that the cache itself uses.
func (c *Cache) ownSettings() map[string]string {
	ascii := "no"
	if c.config.Users != nil && !c.config.SASL {
		ascii = c.config.Users.path
	}
	evictions := "on"
	if c.config.NoEvict {
		evictions = "off"
	}
	return map[string]string{
		"maxbytes":            strconv.FormatInt(c.store.Stats().Limit, 10),
		"evmq_version":        Release(),
		"verbosity":           strconv.Itoa(int(c.verbosity.Load())),
		"oldest":              strconv.FormatInt(c.flushed.Load(), 10),
		"evictions":           evictions,
		"shutdown_command":    yesNo(c.config.Shutdown != nil),
		"detail_enabled":      yesNo(c.detail.on.Load()),
		"reqs_per_event":      strconv.Itoa(c.config.PerTurn),
		"cas_enabled":         yesNo(!c.config.NoCAS),
		"binding_protocol":    c.config.Protocol.String(),
		"auth_enabled_sasl":   yesNo(c.config.SASL),
		"auth_enabled_ascii":  ascii,
		"watcher_logbuf_size": strconv.Itoa(c.config.WatcherLog),
		"worker_logbuf_size":  strconv.Itoa(c.config.WorkerLog),
		"item_size_max":       strconv.Itoa(c.config.MaxItem),
		"flush_enabled":       yesNo(!c.config.NoFlush),
		"dump_enabled":        yesNo(!c.config.NoDump),
	}
}

// setting returns a numeric setting, or 0 if it is not set.
func (c *Cache) setting(name string) int {
	n, _ := strconv.Atoi(c.tuning.get(name)) // 0 if it is not a number
	return n
}

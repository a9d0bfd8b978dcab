package memcache_test

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// TestAnInvalidConfigIsReportedWithFieldAndValue checks each field that has limits.
func TestAnInvalidConfigIsReportedWithFieldAndValue(t *testing.T) {
	users, err := memcache.LoadUsers(usersFile(t, "ann:secret"))
	testkit.Must(t, err)
	for _, c := range []struct {
		memcache.Config
		text string
	}{
		{memcache.Config{Memory: -1}, "Config.Memory is -1"},
		{memcache.Config{Memory: memcache.MinMemory - 1}, "Config.Memory is 1048575"},
		{memcache.Config{Memory: math.MaxInt64}, "Config.Memory is 9223372036854775807"},
		{memcache.Config{MaxItem: -1}, "Config.MaxItem is -1"},
		{memcache.Config{MaxItem: memcache.MaxMaxItem + 1}, "Config.MaxItem is 1073741825"},
		{memcache.Config{PerTurn: -7}, "Config.PerTurn is -7"},
		{memcache.Config{WorkerLog: -1}, "Config.WorkerLog is -1"},
		{memcache.Config{WatcherLog: -2}, "Config.WatcherLog is -2"},
		{memcache.Config{WatcherLog: 1<<30 + 1}, "Config.WatcherLog is 1073741825"},
		{memcache.Config{Verbosity: -1}, "Config.Verbosity is -1, negative"},
		{memcache.Config{Protocol: 9}, "Config.Protocol is 9"},
		{memcache.Config{SASL: true}, "Config.Users is nil"},
		{memcache.Config{SASL: true, Users: users, Protocol: memcache.Text}, "Config.Protocol is ascii"},
		{memcache.Config{Users: users, Protocol: memcache.Binary}, "Config.Protocol is binary"},
	} {
		if _, err := memcache.New(&c.Config); !errors.Is(err, memcache.ErrInvalid) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v; want an ErrInvalid with %q", c.Config, err, c.text)
		}
	}
}

// TestTheLimitsOfAConfigAreValid, so that no documented value is refused.
func TestTheLimitsOfAConfigAreValid(t *testing.T) {
	for _, c := range []memcache.Config{
		{Memory: memcache.MinMemory}, {Memory: memcache.MaxMemory}, {MaxItem: 1}, {MaxItem: memcache.MaxMaxItem}, {Verbosity: 99},
		{Memory: memcache.MinMemory, MaxItem: memcache.MaxMaxItem}, {PerTurn: 1, WorkerLog: 1, WatcherLog: 1},
	} {
		cache, err := memcache.New(&c)
		testkit.Must(t, err)
		testkit.Must(t, cache.Close())
	}
}

// TestTheLimitsAreThoseOfTheStoreAndTheProtocol, which enforce them.
func TestTheLimitsAreThoseOfTheStoreAndTheProtocol(t *testing.T) {
	got := [...]int64{memcache.MinMemory, memcache.MaxMemory, memcache.MaxMaxItem, memcache.MaxKey}
	if want := [...]int64{store.MinMemory, store.MaxMemory, store.MaxMaxItem, protocol.MaxKey}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// A nil Config and the zero Config have the defaults, which stats settings shows.
func TestNoConfigAndTheZeroConfigHaveTheDefaults(t *testing.T) {
	for _, cfg := range []*memcache.Config{nil, {}} {
		cache, err := memcache.New(cfg)
		testkit.Must(t, err)
		defer cache.Close()
		got := cache.Stats("settings")
		for name, want := range map[string]string{
			"maxbytes": "67108864", "item_size_max": "1048576", "reqs_per_event": "20", "worker_logbuf_size": "65536", "watcher_logbuf_size": "262144",
			"evictions": "on", "cas_enabled": "yes", "flush_enabled": "yes", "dump_enabled": "yes", "verbosity": "0", "binding_protocol": "auto-negotiate",
		} {
			if got[name] != want {
				t.Errorf("%v: %s is %q, want %q", cfg, name, got[name], want)
			}
		}
	}
}

// A Config may have nil among its Listeners: stats conns leaves them out.
func TestNilListenersAreLeftOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer l.Close()
	cache, err := memcache.New(&memcache.Config{Listeners: func() []net.Listener { return []net.Listener{nil, l, nil} }})
	testkit.Must(t, err)
	defer cache.Close()
	var addresses []string
	for name, value := range cache.Stats("conns") {
		if strings.HasSuffix(name, ":addr") {
			addresses = append(addresses, value)
		}
	}
	if want := []string{"tcp:" + l.Addr().String()}; !slices.Equal(addresses, want) {
		t.Errorf("the listeners are %q, want %q", addresses, want)
	}
}

// Later changes of a Config have no effect on the cache, and the cache changes nothing in it.
func TestAConfigIsCopied(t *testing.T) {
	settings := []memcache.Setting{{"tcpport", "11211"}, {"own", "1"}}
	cfg := &memcache.Config{Settings: settings, Logger: slog.New(slog.DiscardHandler)}
	cache, err := memcache.New(cfg)
	testkit.Must(t, err)
	defer cache.Close()
	if cfg.Memory != 0 || cfg.MaxItem != 0 || cfg.PerTurn != 0 || cfg.WorkerLog != 0 || cfg.WatcherLog != 0 || cfg.Clock != nil {
		t.Errorf("the program's Config was changed: %+v", cfg)
	}
	cfg.NoFlush, cfg.Memory = true, 1<<30
	settings[0].Value, settings[1].Name = "80", "other"
	if got := cache.Stats("settings"); got["tcpport"] != "11211" || got["own"] != "1" || got["flush_enabled"] != "yes" || got["maxbytes"] != "67108864" {
		t.Errorf("the settings are %q", got)
	}
	if cache.Stats("nonsense")["pid"] != "" || len(cache.Stats("nonsense")) != 0 {
		t.Error("an unknown group has statistics")
	}
}

package store_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []store.Config{
		{Memory: -1}, {Memory: store.MinMemory - 1}, {MaxItem: -1}, {MaxItem: 1}, {MaxItem: store.MaxMaxItem + 1},
		{Shards: -1}, {Shards: 3}, {Shards: 2 * store.MaxShards}, {Memory: 2 * store.MinMemory, Shards: 4}, {Memory: 1 << 50},
	} {
		if s, err := store.New(c); !errors.Is(err, store.ErrInvalid) || s != nil {
			t.Errorf("New(%+v) returns %v, want ErrInvalid", c, err)
		}
	}
}

func TestTheZeroConfigIsValid(t *testing.T) {
	s, err := store.New(store.Config{})
	testkit.Must(t, err)
	testkit.Must(t, put(s, "key", store.Meta{}, []byte("value")))
	equal(t, "found", has(s, "key"), true)
	equal(t, "limit", s.Stats().Limit, store.DefaultMemory)
}

// TestTooMuchMemoryIsReportedAsSuch, and not as a wrong number of shards, which the caller has not chosen.
func TestTooMuchMemoryIsReportedAsSuch(t *testing.T) {
	if _, err := store.New(store.Config{Memory: 1 << 50}); err == nil || !strings.Contains(err.Error(), "Memory is 1125899906842624 bytes, the most is") {
		t.Error(err)
	}
}

// Each shard is large enough for some of the longest items, and there are more when there are more processors.
func TestShardsAreChosenByMemoryAndProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, tt := range []struct {
		procs, want int
		config      store.Config
	}{
		{2, 4, store.Config{}},
		{1, 4, store.Config{}},
		{16, 4, store.Config{}},
		{3, 16, store.Config{Memory: 1 << 30}},
		{64, 64, store.Config{Memory: 1 << 30}},
		{64, 1, store.Config{Memory: 1 << 20}},
		{64, 2, store.Config{Memory: 1 << 30, MaxItem: 32 << 20}},
	} {
		runtime.GOMAXPROCS(tt.procs)
		s, _ := open(t, tt.config)
		if got := s.Stats().Shards; got != tt.want {
			t.Errorf("%d processors, %+v: %d shards, want %d", tt.procs, tt.config, got, tt.want)
		}
	}
}

// A store without Config.Now uses the time of the system.
func TestWithoutNowTheClockIsTheSystems(t *testing.T) {
	s, err := store.New(store.Config{})
	testkit.Must(t, err)
	testkit.Must(t, put(s, "past", store.Meta{Expires: 1500000000}, []byte("v")))
	testkit.Must(t, put(s, "future", store.Meta{Expires: 4200000000}, []byte("v")))
	equal(t, "2017 found", has(s, "past"), false)
	equal(t, "2103 found", has(s, "future"), true)
}

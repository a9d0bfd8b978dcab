package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/memcache/store"
)

// bench returns a store with n items of 10-byte keys and 32-byte values.
func bench(tb testing.TB, n int, memory int64) *store.Store {
	s, _ := open(tb, store.Config{Memory: memory})
	value := make([]byte, 32)
	var key benchKey
	for i := range n {
		e := s.Lock(key.of(uint64(i)))
		if err := e.Put(store.Meta{}, value); err != nil {
			tb.Fatal(err)
		}
		e.Unlock()
	}
	return s
}

type benchKey [10]byte

func (k *benchKey) of(i uint64) []byte {
	binary.LittleEndian.PutUint64(k[:], i)
	return k[:]
}

// million is the number of items in benchmarks.
const million = 1 << 20

func BenchmarkGetHit(b *testing.B) {
	s := bench(b, million, 1<<30)
	parallel(b, func(key *benchKey, random *rand.Rand) { benchGet(b, s, key.of(random.Uint64N(million)), true) })
}

func BenchmarkGetMiss(b *testing.B) {
	s := bench(b, million, 1<<30)
	parallel(b, func(key *benchKey, random *rand.Rand) { benchGet(b, s, key.of(million+random.Uint64N(million)), false) })
}

func BenchmarkSet(b *testing.B) {
	s := bench(b, million, 1<<30)
	parallel(b, func(key *benchKey, random *rand.Rand) { benchSet(b, s, key.of(random.Uint64N(million))) })
}

// BenchmarkSetEvict stores new keys in a full store.
func BenchmarkSetEvict(b *testing.B) {
	s := bench(b, million, 64<<20)
	parallel(b, func(key *benchKey, random *rand.Rand) { benchSet(b, s, key.of(random.Uint64())) })
}

// BenchmarkMixed runs nine gets for each set.
func BenchmarkMixed(b *testing.B) {
	s := bench(b, million, 1<<30)
	parallel(b, func(key *benchKey, random *rand.Rand) {
		if i := random.Uint64N(million * 10); i < million {
			benchSet(b, s, key.of(i))
		} else {
			benchGet(b, s, key.of(i%million), true)
		}
	})
}

// parallel runs the benchmark on GOMAXPROCS goroutines.
func parallel(b *testing.B, op func(key *benchKey, random *rand.Rand)) {
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		random := rand.New(rand.NewPCG(rand.Uint64(), 0))
		var key benchKey
		for pb.Next() {
			op(&key, random)
		}
	})
}

func benchGet(b *testing.B, s *store.Store, key []byte, want bool) {
	e := s.Lock(key)
	if e.Found() != want {
		b.Error("found", !want)
	}
	if want {
		e.Use()
	}
	e.Unlock()
}

var benchValue = make([]byte, 32)

func benchSet(b *testing.B, s *store.Store, key []byte) {
	e := s.Lock(key)
	if err := e.Put(store.Meta{}, benchValue); err != nil {
		b.Error(err)
	}
	e.Unlock()
}

// BenchmarkBytesPerItem reports the memory of an item with a key of 10 bytes and a value of 32 bytes, tables included.
func BenchmarkBytesPerItem(b *testing.B) {
	for b.Loop() {
		st := bench(b, million, 1<<30).Stats()
		b.ReportMetric(float64(st.Memory-st.Free)/float64(st.Items), "B/item")
	}
}

// TestMillions reports the latencies of gets from a store with very many items while the collector runs, and the times of the collector. It runs
// if STORE_MILLIONS is set to the number of millions.
func TestMillions(t *testing.T) {
	setting := os.Getenv("STORE_MILLIONS")
	if setting == "" {
		t.Skip("STORE_MILLIONS is not set")
	}
	millions, err := strconv.Atoi(setting)
	if err != nil {
		t.Fatal(err)
	}
	n := millions * 1000000
	s := bench(t, n, 160*int64(n))
	runtime.GC()
	st := s.Stats()
	if st.Items != int64(n) {
		t.Fatalf("%d items, want %d", st.Items, n)
	}
	begin := time.Now()
	runtime.GC()
	t.Logf("%d items, %.1f bytes each; a collection takes %v", st.Items, float64(st.Memory-st.Free)/float64(st.Items), time.Since(begin))

	t.Logf("gets alone: %s", latencies(s, n))
	stop, cycles := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				cycles <- n
				return
			default:
				runtime.GC()
			}
		}
	}()
	collecting := latencies(s, n)
	close(stop)
	ran := <-cycles
	var after debug.GCStats
	debug.ReadGCStats(&after)
	t.Logf("gets during %d collections: %s; the longest pause %v", ran, collecting, slices.Max(after.Pause[:min(len(after.Pause), ran)]))
}

// latencies returns the times of gets.
func latencies(s *store.Store, n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	took := make([]time.Duration, 2000000)
	var key benchKey
	for i := range took {
		k := key.of(random.Uint64N(uint64(n)))
		begin := time.Now()
		e := s.Lock(k)
		e.Use()
		e.Unlock()
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, max %v", at(.5), at(.99), at(.999), at(1))
}

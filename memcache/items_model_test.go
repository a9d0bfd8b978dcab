package memcache

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twoUsers are a program and a client of one cache, and the model of it.
type twoUsers struct {
	*Cache
	*model
	clock  *trapClock
	client *session
}

// TestTheProgramAndAClientSeeTheSameItems calls the methods for programs in any order, between commands of a client and on a clock that moves. Every
// result is that of the model with which the protocols are tested.
func TestTheProgramAndAClientSeeTheSameItems(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		u := &twoUsers{clock: new(trapClock)}
		u.clock.now.Store(1_700_000_000)
		u.model = newModel(u.clock.Unix(), rapid.IntRange(0, 3).Draw(rt, "noCAS") == 3)
		var err error
		u.Cache, err = New(&Config{Memory: 64 << 20, Clock: u.clock, Logger: slog.New(slog.DiscardHandler), NoCAS: u.noCAS})
		if err != nil {
			rt.Fatal(err)
		}
		defer u.Close()
		u.client = &session{w: u.newWorker(), known: true}
		rt.Repeat(map[string]func(*rapid.T){
			"":          u.compare,
			"set":       u.set,
			"add":       u.add,
			"swap":      u.swap,
			"delete":    u.delete,
			"touch":     u.touch,
			"increment": func(t *rapid.T) { u.change(t, true) },
			"decrement": func(t *rapid.T) { u.change(t, false) },
			"flush": func(*rapid.T) {
				u.FlushAll()
				u.flush(0)
			},
			"client": func(rt *rapid.T) {
				input, want := textCommand(&dice{rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(rt, "command")}, u.model)
				if got := ask(t, u.client, input); got != want {
					rt.Fatalf("%.100q is answered with %.100q, want %.100q", input, got, want)
				}
			},
			"wait": func(t *rapid.T) {
				by := int64(rapid.SampledFrom([]int{1, 1, 2, 40}).Draw(t, "seconds"))
				u.clock.now.Add(by)
				u.now += by
			},
		})
	})
}

// key draws one of the keys that the client uses, too.
func (u *twoUsers) key(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "key"}).Draw(t, "key")
}

// item draws an item, and returns the second in which it expires.
func (u *twoUsers) item(t *rapid.T) (it Item, expires int64) {
	d := &dice{rapid.SliceOfN(rapid.Byte(), 1, 1).Draw(t, "value")}
	it = Item{Value: []byte(d.value()), Flags: rapid.Uint32().Draw(t, "flags")}
	it.TTL, expires = u.ttl(t)
	return it, expires
}

// ttl draws a TTL and returns the second in which an item with it expires, as the model counts it.
func (u *twoUsers) ttl(t *rapid.T) (ttl time.Duration, expires int64) {
	ttl = rapid.SampledFrom([]time.Duration{
		0, -1, -time.Hour, math.MinInt64, 1, time.Millisecond, time.Second - 1, time.Second, time.Second + 1, 3 * time.Second / 2, 40 * time.Second,
		30 * 24 * time.Hour, 31 * 24 * time.Hour, 60 * 365 * 24 * time.Hour,
	}).Draw(t, "ttl")
	switch {
	case ttl == 0:
		return ttl, 0
	case ttl < 0:
		return ttl, 1 // which has passed
	}
	return ttl, u.now + int64(math.Ceil(ttl.Seconds()))
}

// is reports a result that is not the wanted one.
func is(t *rapid.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || (got == nil) != (want == nil) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// outcomes are the errors for the model's words.
var outcomes = map[string]error{
	"STORED": nil, "DELETED": nil, "OK": nil, "NOT_STORED": ErrExists, "EXISTS": ErrChanged, "NOT_FOUND": ErrNotFound, "NOT_A_NUMBER": ErrNotNumber,
}

// compare gets all items.
func (u *twoUsers) compare(t *rapid.T) {
	for _, key := range []string{"a", "b", "key"} {
		got, err := u.Get(key)
		want := u.find(key)
		if want == nil {
			is(t, "get "+key, err, ErrNotFound)
			continue
		}
		is(t, "get "+key, err, nil)
		ttl := time.Duration(0)
		if want.expires != 0 {
			ttl = time.Duration(want.expires-u.now) * time.Second
		}
		if string(got.Value) != want.value || got.Flags != want.flags || got.TTL != ttl || got.CAS != want.cas {
			t.Fatalf("%s is %d bytes, flags %d, TTL %v, CAS %d; want %d bytes, %d, %v, %d", key,
				len(got.Value), got.Flags, got.TTL, got.CAS, len(want.value), want.flags, ttl, want.cas)
		}
		if len(want.value) > 300_000 { // the model has no limit
			is(t, "delete "+key, u.Delete(key), outcomes[u.remove(key, 0)])
		}
	}
}

func (u *twoUsers) set(t *rapid.T) {
	key := u.key(t)
	it, expires := u.item(t)
	is(t, "set", u.Set(key, it), nil)
	u.model.store("set", key, string(it.Value), it.Flags, expires, 0, false)
}

func (u *twoUsers) add(t *rapid.T) {
	key := u.key(t)
	it, expires := u.item(t)
	what, _ := u.model.store("add", key, string(it.Value), it.Flags, expires, 0, false)
	is(t, "add", u.Add(key, it), outcomes[what])
}

func (u *twoUsers) swap(t *rapid.T) {
	key := u.key(t)
	it, expires := u.item(t)
	if old := u.find(key); old != nil {
		it.CAS = old.cas
	}
	it.CAS += rapid.SampledFrom([]uint64{0, 0, 1, 7}).Draw(t, "other")
	if it.CAS == 0 {
		is(t, "compare and swap without a number", u.CompareAndSwap(key, it), ErrInvalid)
		return
	}
	what, _ := u.model.store("cas", key, string(it.Value), it.Flags, expires, it.CAS, false)
	is(t, "compare and swap", u.CompareAndSwap(key, it), outcomes[what])
}

func (u *twoUsers) delete(t *rapid.T) {
	key := u.key(t)
	is(t, "delete", u.Delete(key), outcomes[u.remove(key, 0)])
}

func (u *twoUsers) touch(t *rapid.T) {
	key := u.key(t)
	ttl, expires := u.ttl(t)
	want := error(nil)
	if u.model.touch(key, expires) == nil {
		want = ErrNotFound
	}
	is(t, "touch", u.Touch(key, ttl), want)
}

func (u *twoUsers) change(t *rapid.T, up bool) {
	key, delta := u.key(t), rapid.SampledFrom([]uint64{0, 1, 100, 1 << 63}).Draw(t, "delta")
	fn := u.Decrement
	if up {
		fn = u.Increment
	}
	want, what := u.sum(key, up, delta, 0)
	got, err := fn(key, delta)
	is(t, "change of a number", err, outcomes[what])
	if err == nil && got != want {
		t.Fatalf("the number is %d, want %d", got, want)
	}
}

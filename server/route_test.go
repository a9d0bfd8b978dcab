package server

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// try has r pass its trials at now, with calls that take the given time each.
func try(t *testing.T, r *route, now, took time.Duration) {
	t.Helper()
	for i := range routeTrials {
		if r.state != routeTried {
			break
		}
		if !r.admits(now) {
			t.Fatalf("trial %d is not admitted", i)
		}
		if !r.isTimed() {
			t.Fatalf("trial %d is not timed", i)
		}
		r.sample(now, took)
	}
}

func wantState(t *testing.T, r *route, want routeState) {
	t.Helper()
	if r.state != want {
		t.Fatalf("the route is %v, want %v", r.state, want)
	}
}

// newInline returns a route that has passed its trials at 0.
func newInline(t *testing.T, took time.Duration) *route {
	t.Helper()
	r := newRoute("h", "", nil, 0)
	try(t, r, 0, took)
	wantState(t, r, routeInline)
	return r
}

// A route is tried before its handlers run on the loop without a limit. Of the requests of a turn only one is tried.
func TestARouteIsTriedOnceInATurn(t *testing.T) {
	r := newRoute("h", "", nil, 0)
	for i := range routeTrials {
		wantState(t, r, routeTried)
		if !r.admits(0) {
			t.Fatalf("trial %d is not admitted", i)
		}
		if r.admits(0) {
			t.Fatalf("a second request is admitted while trial %d is in progress", i)
		}
		if !r.isTimed() {
			t.Fatalf("trial %d is not timed", i)
		}
		r.sample(0, maxInlineMean)
	}
	wantState(t, r, routeInline)
	for range 2 * routeTrials {
		if !r.admits(0) {
			t.Error("not all requests of a turn are admitted when the route is quick")
		}
	}
}

// The mean of the trials decides. A slow one among quick ones does not, even if it took a second; two do.
func TestTheMeanOfItsTrialsDecidesWhereARouteRuns(t *testing.T) {
	for _, test := range []struct {
		took [routeTrials]time.Duration
		want routeState
	}{
		{[...]time.Duration{50, 50, 50, 50, 50, 50, 50, 50}, routeInline},
		{[...]time.Duration{50, 50, 50, 50, 50, 50, 50, 51}, routeAway},
		{[...]time.Duration{1e6, 10, 10, 10, 10, 10, 10, 10}, routeInline},
		{[...]time.Duration{10, 10, 10, 10, 10, 10, 10, 1e6}, routeInline},
		{[...]time.Duration{1e6, 40, 40, 40, 40, 40, 40, 40}, routeAway},
		{[...]time.Duration{1000, 1000, 1, 1, 1, 1, 1, 1}, routeAway},
		{[...]time.Duration{1, 1, 1, 1, 1, 1, 1000, 1e6}, routeAway},
		{[...]time.Duration{1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000}, routeAway},
	} {
		r := newRoute("h", "", nil, 0)
		for _, us := range test.took {
			if r.state == routeTried {
				r.admits(0)
				r.isTimed()
				r.sample(0, us*time.Microsecond)
			}
		}
		if r.state != test.want {
			t.Errorf("trials of %v µs: the route is %v, want %v", test.took, r.state, test.want)
		}
	}
}

// One call in sixteen is timed, and a route whose calls take longer than 50 µs on average is given to the workers.
func TestAQuickRouteIsStillTimed(t *testing.T) {
	for took, slow := range map[time.Duration]bool{maxInlineMean: false, 2 * maxInlineMean: true, time.Millisecond: true} {
		r := newInline(t, 0)
		timed, calls := 0, 0
		for ; calls < 5000 && r.state == routeInline; calls++ {
			if r.isTimed() {
				timed++
				r.sample(0, took)
			}
		}
		if calls/sampledCalls != timed {
			t.Errorf("%d of %d calls are timed, want one of %d", timed, calls, sampledCalls)
		}
		if slow != (r.state == routeAway) {
			t.Errorf("a route whose calls take %v is %v after %d calls", took, r.state, calls)
		}
	}
}

// One call that takes long, because the system has run another process, decides nothing.
func TestOneSlowSampleDoesNotChangeARoute(t *testing.T) {
	r := newInline(t, maxInlineMean/2)
	r.sample(0, time.Minute)
	wantState(t, r, routeInline)
	for range 100 {
		r.sample(0, maxInlineMean/2)
	}
	r.sample(0, time.Minute)
	wantState(t, r, routeInline)
}

// A slow route is given to the workers for 100 ms, then for twice the time, and so on, up to 30 s.
func TestTheTimeOnWorkersDoubles(t *testing.T) {
	r := newRoute("h", "", nil, 0)
	now := time.Duration(0)
	want := minAway
	for range 12 {
		try(t, r, now, time.Millisecond)
		wantState(t, r, routeAway)
		if r.admits(now + want - 1) {
			t.Fatalf("the route is tried before it was on workers for %v", want)
		}
		now += want
		if !r.admits(now) || r.state != routeTried {
			t.Fatalf("the route is %v when it was on workers for %v, want a trial", r.state, want)
		}
		r.isTimed()
		r.sample(now, time.Millisecond)
		want = min(2*want, maxAway)
	}
	if want != 30*time.Second {
		t.Errorf("the longest time is %v", want)
	}
}

// A route that was quick for more than 30 s before it became slow is given to the workers for 100 ms again.
func TestTheTimeOnWorkersIsShortAfterALongQuickTime(t *testing.T) {
	for quickFor, want := range map[time.Duration]time.Duration{maxAway: 4 * minAway, maxAway + 1: minAway} {
		r := newRoute("h", "", nil, 0)
		now := time.Duration(0)
		for range 2 {
			try(t, r, now, time.Millisecond)
			now = r.until
			r.admits(now)
			wantState(t, r, routeTried)
			r.isTried = false
		}
		try(t, r, now, 0)
		wantState(t, r, routeInline)
		now += quickFor
		for r.state == routeInline {
			r.sample(now, time.Second)
		}
		if got := r.until - now; got != want {
			t.Errorf("a route that was quick for %v is given to the workers for %v, want %v", quickFor, got, want)
		}
	}
}

// A trial from which the leadership is taken ends the trials.
func TestATrialThatStallsEndsTheTrials(t *testing.T) {
	for _, byHandler := range []bool{false, true} {
		r := newRoute("h", "", nil, 0)
		r.admits(0)
		r.takenOver(time.Second, time.Millisecond, byHandler)
		wantState(t, r, routeAway)
		if r.admits(time.Second) {
			t.Error("it is admitted at once")
		}
	}
}

// Stalls may take one per cent of the time. A route earns that time while it does not stall, up to 20 ms.
func TestStallsMayTakeOnePerCentOfTheTime(t *testing.T) {
	r := newInline(t, 0)
	now := time.Duration(0)
	for i := range 100 { // one per cent exactly
		now += 200 * time.Millisecond
		r.takenOver(now, 2*time.Millisecond, false)
		if r.state != routeInline {
			t.Fatalf("stall %d of 2 ms in 200 ms: the route is %v", i, r.state)
		}
	}
	now += 199 * time.Millisecond
	r.takenOver(now, 2*time.Millisecond, false)
	wantState(t, r, routeAway)

	r = newInline(t, 0)
	r.takenOver(time.Hour, maxStallCredit, false)
	wantState(t, r, routeInline)
	r.takenOver(time.Hour+time.Millisecond, time.Millisecond, false)
	wantState(t, r, routeAway)

	r = newInline(t, 0)
	r.takenOver(time.Hour, maxStallCredit+1, false)
	wantState(t, r, routeAway)
}

// A handler that calls Reply.Blocking has not stalled the loop, but costs as much as a slow one: a route is given to the workers when many of its
// handlers do so, and not because of one.
func TestAHandlerThatCallsBlockingCountsAsASlowOne(t *testing.T) {
	r := newInline(t, 0)
	r.takenOver(1, 10*time.Microsecond, true)
	wantState(t, r, routeInline)
	for range 15 {
		r.sample(1, 0)
	}
	for i := 0; r.state == routeInline; i++ {
		if i == 10 {
			t.Fatal("a route all of whose handlers yield remains on the loop")
		}
		r.takenOver(2, 10*time.Microsecond, true)
	}
	if n, stalls := r.takeovers.Load(), r.stalls.Load(); n < 2 || stalls != 0 {
		t.Errorf("%d handlers called Blocking and %d stalled", n, stalls)
	}
}

// The counters say what has happened to the requests.
func TestARouteCountsItsStalls(t *testing.T) {
	r := newInline(t, 0)
	r.takenOver(time.Second, 0, true)
	r.takenOver(time.Second, 0, false)
	if r.inline.Load() != 2 || r.takeovers.Load() != 2 || r.stalls.Load() != 1 {
		t.Errorf("%d inline, %d taken over, %d stalls; want 2, 2, 1", r.inline.Load(), r.takeovers.Load(), r.stalls.Load())
	}
}

// keyed is a RequestHandler with one route for each message.
type keyed struct{ n int }

func (*keyed) ServeRequest(Reply, []byte)          {}
func (*keyed) RouteOf(message []byte) (key []byte) { return message }

func routeOf(t *routeTable, h RequestHandler, message string) *route {
	return routeFor(t, h, ownExecutor, message)
}

var ownExecutor, otherExecutor = &executor{}, &executor{index: 1, name: "other"}

// keyOf returns the key of a request, nil if its handler does not distinguish routes.
func keyOf(req *request) []byte {
	if req.router == nil {
		return nil
	}
	return req.router.RouteOf(req.first)
}

func routeFor(t *routeTable, h RequestHandler, ex *executor, message string) *route {
	req := &request{first: []byte(message), ex: ex}
	req.placeFor(h)
	return t.of(req, keyOf(req), 0)
}

// Each key of a handler has a route of its own, as each handler has, also if one of their messages is handled after the other.
func TestRoutesAreDistinguishedByHandlerAndKey(t *testing.T) {
	var table routeTable
	one, two := &keyed{1}, &keyed{2}
	seen := map[*route]string{}
	for _, h := range []*keyed{one, two, one, two} {
		for _, key := range []string{"", "a", "b", "a"} {
			name := fmt.Sprint(h.n, key)
			r := routeOf(&table, h, key)
			if before, known := seen[r]; known && before != name {
				t.Errorf("%s and %s have the same route", before, name)
			}
			seen[r] = name
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d routes, want 6", len(seen))
	}
	if other := routeFor(&table, one, otherExecutor, "a"); seen[other] != "" || other != routeFor(&table, one, otherExecutor, "a") {
		t.Error("requests for two executors have the same route")
	}
	buf := []byte("key")
	r := routeOf(&table, one, string(buf))
	copy(buf, "eky")
	if routeOf(&table, one, "key") != r {
		t.Error("the key was not copied")
	}
}

// Further keys than 1000 of a handler share the route that has no key.
func TestTheRoutesOfAHandlerAreBounded(t *testing.T) {
	var table routeTable
	h := &keyed{}
	for i := range maxRoutes {
		if r := routeOf(&table, h, fmt.Sprint(i)); r.key != fmt.Sprint(i) {
			t.Fatalf("key %d has the route of %q", i, r.key)
		}
	}
	first, second := routeOf(&table, h, "one more"), routeOf(&table, h, "another")
	if first != second || first != table.last.whole || len(table.last.byKey) != maxRoutes {
		t.Errorf("%q and %q are routes beyond the bound; there are %d", first.key, second.key, len(table.last.byKey))
	}
	if routeOf(&table, h, "7").key != "7" {
		t.Error("a key within the bound has lost its route")
	}
}

// Further handlers than 100 share the routes of their type.
func TestTheHandlersOfALoopAreBounded(t *testing.T) {
	var table routeTable
	for i := range maxRoutedHandlers {
		routeOf(&table, &keyed{i}, "k")
	}
	first, second := routeOf(&table, &keyed{}, "k"), routeOf(&table, &keyed{}, "k")
	if first != second || len(table.handlers) != maxRoutedHandlers+1 {
		t.Errorf("two further handlers have the same route: %v; there are %d", first == second, len(table.handlers))
	}
	stats := map[routeName]*RouteStats{}
	first.inline.Add(3)
	table.addTo(stats)
	total := uint64(0)
	for _, st := range stats {
		total += st.Inline
		if st.Handler != "*server.keyed" {
			t.Errorf("the handler is called %s", st.Handler)
		}
	}
	if total != 3 || len(stats) != 2*(maxRoutedHandlers+1) {
		t.Errorf("%d requests of %d routes", total, len(stats))
	}
}

// The keys of routes are looked up without a copy.
func TestALookUpOfARouteAllocatesNothing(t *testing.T) {
	var table routeTable
	one, two := &keyed{1}, &keyed{2}
	req := &request{first: []byte("key")}
	n := testing.AllocsPerRun(100, func() {
		for _, h := range []*keyed{one, two} {
			req.placeFor(h)
			table.of(req, keyOf(req), 0).admits(0)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// States and placements print as words.
func TestRoutesAndPlacementsHaveNames(t *testing.T) {
	var got []string
	for s := routeTried; s <= routeAway; s++ {
		got = append(got, s.String())
	}
	for s := leadTurning; s <= leadOver; s++ {
		got = append(got, s.String())
	}
	for p := Adaptive; p <= OnWorkers+1; p++ {
		got = append(got, p.String())
	}
	got = append(got, RouteStats{Handler: "h", Key: "k", Inline: 1, OnWorkers: 2, TakenOver: 3, Stalls: 4}.String())
	got = append(got, RouteStats{Handler: "h", LongestHandler: time.Second}.String())
	want := "tried inline away turning in a handler taken over adaptive on the loop on workers unknown h \"k\": 1 inline, 2 on workers, 3 taken over, 4 stalls" +
		" h \"\": 0 inline, 0 on workers, 0 taken over, 0 stalls, longest 1s"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

package server

import (
	"fmt"
	"reflect"
	"sync"
	"time"
)

// The limits of a routeTable. Further handlers share the routes of their type, and further keys share one route.
const (
	maxRoutedHandlers = 100
	maxRoutes         = 1000
)

// A routeTable has the routes of a loop, by handler and key.
type routeTable struct {
	mu       sync.Mutex // guards the maps. Only the leader changes them, so it reads them without mu
	handlers map[routedID]*handlerRoutes
	last     *handlerRoutes // of the last request
}

// A routedID identifies a handler and one of the executors that it chooses.
type routedID struct {
	handler handlerID
	ex      *executor
}

// handlerRoutes has the routes of a handler, for one executor.
type handlerRoutes struct {
	id    routedID
	whole *route // the route of requests without a key, and of keys beyond maxRoutes
	byKey map[string]*route
}

// of returns the route of a request. Only the leader calls it.
func (t *routeTable) of(req *request, key []byte, now time.Duration) *route {
	hr := t.last
	if id := (routedID{idOf(req.handler), req.ex}); hr == nil || hr.id != id {
		hr = t.routesOf(id, req.handler, now)
		t.last = hr
	}
	if req.router == nil {
		return hr.whole
	}
	if r := hr.byKey[string(key)]; r != nil {
		return r
	}
	return t.addKey(hr, string(key), now)
}

// routesOf returns the routes of a handler.
func (t *routeTable) routesOf(id routedID, h RequestHandler, now time.Duration) *handlerRoutes {
	if hr := t.handlers[id]; hr != nil {
		return hr
	}
	if len(t.handlers) >= maxRoutedHandlers {
		id.handler = id.handler.ofType()
		if hr := t.handlers[id]; hr != nil {
			return hr
		}
	}
	hr := &handlerRoutes{id: id, whole: newRoute(reflect.TypeOf(h).String(), "", id.ex, now), byKey: map[string]*route{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handlers == nil {
		t.handlers = map[routedID]*handlerRoutes{}
	}
	t.handlers[id] = hr
	return hr
}

// addKey returns the route of a key that has none yet.
func (t *routeTable) addKey(hr *handlerRoutes, key string, now time.Duration) *route {
	if len(hr.byKey) >= maxRoutes {
		return hr.whole
	}
	r := newRoute(hr.whole.handler, key, hr.id.ex, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	hr.byKey[key] = r
	return r
}

// addTo adds the counters to stats. Any goroutine.
func (t *routeTable) addTo(stats map[routeName]*RouteStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, hr := range t.handlers {
		add := func(r *route) {
			name := routeName{id, r.key}
			st := stats[name]
			if st == nil {
				st = &RouteStats{Handler: r.handler, Executor: r.ex.name, Key: r.key}
				stats[name] = st
			}
			st.Inline += r.inline.Load()
			st.OnWorkers += r.workers.Load()
			st.TakenOver += r.takeovers.Load()
			st.Stalls += r.stalls.Load()
			st.LongestHandler = max(st.LongestHandler, time.Duration(r.longest.Load()))
		}
		add(hr.whole)
		for _, r := range hr.byKey {
			add(r)
		}
	}
}

// routeName identifies a route of a server.
type routeName struct {
	routed routedID
	key    string
}

// RouteStats counts the requests of a route: of the messages for which ExecutorOf and RouteOf have returned the same values, or of a
// handler without these methods. Of the requests of an input, which a worker or the loop handles one after the other, the first determines
// the route of all.
type RouteStats struct {
	Handler   string // the type of the RequestHandler
	Executor  string // the result of ExecutorOf; empty without it
	Key       string // the result of RouteOf; empty without it, and for all keys beyond the first 1000
	Inline    uint64 // requests that ran on a loop
	OnWorkers uint64 // inputs and messages that were handed to workers, or to the Executor
	TakenOver uint64 // those of Inline that lost the loop to another goroutine before they ended
	Stalls    uint64 // those of TakenOver that had not called Reply.Blocking

	// LongestHandler is the longest time for which a handler had a loop: until it returned, or lost the loop. It is measured only with
	// SlowCallback of LoopConfig. LongestCallback of the event loop's Stats does not include handlers of requests.
	LongestHandler time.Duration
}

// String returns the counters in one line, and LongestHandler if it was measured. Any goroutine.
func (s RouteStats) String() string {
	name := fmt.Sprintf("%s %q", s.Handler, s.Key)
	if s.Executor != "" {
		name += fmt.Sprintf(" (executor %q)", s.Executor)
	}
	text := fmt.Sprintf("%s: %d inline, %d on workers, %d taken over, %d stalls", name, s.Inline, s.OnWorkers, s.TakenOver, s.Stalls)
	if s.LongestHandler > 0 {
		text += fmt.Sprintf(", longest %v", s.LongestHandler)
	}
	return text
}

// RouteStats returns the counters of the routes whose requests may run on the loops, in no order. Requests of handlers that always use
// workers are not counted. Any goroutine.
func (s *Server) RouteStats() []RouteStats {
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	byName := map[routeName]*RouteStats{}
	for _, l := range loops {
		l.lead.routes.addTo(byName)
	}
	var stats []RouteStats
	for _, st := range byName {
		stats = append(stats, *st)
	}
	return stats
}

package wspeer

import (
	"runtime"
	"slices"
	"sync"
)

// A Group is the sockets that receive broadcasts. All its methods may be called from any goroutine.
type Group[M comparable] struct {
	sending sync.Mutex // held during a broadcast, so that a socket has one writer at a time and receives broadcasts in one order
	mu      sync.Mutex // guards members
	members map[M]struct{}
}

// Add adds a socket.
func (g *Group[M]) Add(m M) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members == nil {
		g.members = make(map[M]struct{})
	}
	g.members[m] = struct{}{}
}

// Remove removes a socket. A broadcast that has begun may still send to it.
func (g *Group[M]) Remove(m M) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, m)
}

// Send calls fn with all sockets, in one call at a time, and returns their number.
func (g *Group[M]) Send(fn func(members []M)) int {
	g.sending.Lock()
	defer g.sending.Unlock()
	all := g.all()
	fn(all)
	return len(all)
}

func (g *Group[M]) all() []M {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]M, 0, len(g.members))
	for m := range g.members {
		all = append(all, m)
	}
	return all
}

// AtOnce divides the sockets among GOMAXPROCS goroutines, and returns when all have called fn for theirs. It is for libraries whose calls write to the
// socket.
func AtOnce[M any](members []M, fn func(M)) {
	if len(members) == 0 {
		return
	}
	var done sync.WaitGroup
	procs := runtime.GOMAXPROCS(0)
	for part := range slices.Chunk(members, (len(members)+procs-1)/procs) {
		done.Go(func() {
			for _, m := range part {
				fn(m)
			}
		})
	}
	done.Wait()
}

package sse

import (
	"fmt"
	"net/http"

	"github.com/evmq/evmq/httpd"
)

// ServeHTTP responds to a GET with a stream of the Group, as Join does, and to a HEAD with the head of one. It responds with 405 to other methods,
// and with 500 to a request that cannot be parked, or for which Replay fails. May block; not in a callback.
func (g *Group) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodHead:
		setHead(w.Header())
		return
	default:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if _, isParked, err := g.join(w, r); err != nil && !isParked {
		w.Header().Del("X-Accel-Buffering")
		http.Error(w, "500 "+err.Error(), http.StatusInternalServerError)
	}
}

// Join responds to a request with a stream of the Group: with the events of the history that the client has missed, and then with each event
// that is sent. w and r are the arguments of the handler. Errors: those of Start; that of Replay, or ErrInvalid for its events, after which the
// handler can still respond by w; those of httpd.Group.Add if the client has gone, or Shutdown has begun. May block; not in a callback.
func (g *Group) Join(w http.ResponseWriter, r *http.Request) (Stream, error) {
	s, _, err := g.join(w, r)
	return s, err
}

// join is Join. isParked reports whether w cannot be used any more.
func (g *Group) join(w http.ResponseWriter, r *http.Request) (s Stream, isParked bool, err error) {
	b := backlog{id: LastEventID(r)}
	if g.cfg.Retry > 0 {
		b.text = append(appendRetry(b.text, g.cfg.Retry), '\n')
	}
	b.continues = b.id != ""
	if b.continues && g.cfg.Replay != nil {
		if err := g.replay(&b, r); err != nil {
			return Stream{}, false, err
		}
	}
	p, err := park(w, r, g.cfg.MaxPending, g.onGone)
	if err != nil {
		return Stream{}, false, err
	}
	if err := g.add(p, &b); err != nil {
		_ = p.Close() // fails if the connection has ended
		return Stream{}, true, fmt.Errorf("sse: join a group: %w", err)
	}
	return Stream{p}, true, nil
}

// A backlog is what a stream gets before the events that are sent from then on.
type backlog struct {
	text      []byte // what comes first
	id        string // events of the history after the one with this ID follow
	continues bool   // the client has had an ID
	isPartial bool   // more is in the store: the stream ends after text
}

// replay appends the events of Replay after the one with the ID to the text, until the history has the rest, and sets the ID to that of the last one.
func (g *Group) replay(b *backlog, r *http.Request) error {
	for {
		g.mu.Lock()
		_, known := g.history.after(b.id)
		g.mu.Unlock()
		if known {
			return nil
		}
		if len(b.text) > maxReplayed {
			b.isPartial = true
			return nil
		}
		events, err := g.cfg.Replay(r, b.id)
		if err != nil {
			return fmt.Errorf("sse: replay the events after %q: %w", b.id, err)
		}
		if len(events) == 0 {
			return nil
		}
		for i := range events {
			if b.text, err = events[i].Append(b.text); err != nil {
				return err
			}
		}
		last := events[len(events)-1].ID
		if last == "" || last == b.id {
			return fmt.Errorf("%w: the last event of Replay has the ID %q", ErrInvalid, last)
		}
		b.id = last
	}
}

// add begins the stream with its backlog, and makes it a member. Meanwhile no event is sent to the members.
func (g *Group) add(p *httpd.Parked, b *backlog) error {
	if b.isPartial {
		return sendAll(p, b.text)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := p.FlushError(); err != nil {
		return err
	}
	number := g.history.end()
	if b.continues {
		number, _ = g.history.after(b.id)
	}
	return g.follow(p, b.text, number)
}

// sendAll sends a stream that consists of text. Without mu, since the end of a response calls ConnState of the server.
func sendAll(p *httpd.Parked, text []byte) error {
	if _, err := p.Write(text); err != nil {
		return err
	}
	return p.Close()
}

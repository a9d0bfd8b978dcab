package sse

import (
	"fmt"
	"net/http"

	"github.com/evmq/evmq/httpd"
)

// ServeHTTP answers a GET with a stream of the Group, as Join does, and a HEAD with the head of one. Other methods are answered 405, and a
// request that cannot be parked, or for which Replay fails, 500. May block; not in a callback.
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

// Join answers a request with a stream of the Group: with the events of the history that the client has missed, and then with each event
// that is sent. w and r are the arguments of the handler. Errors: those of Start; of Replay; those of httpd.Group.Add if the client
// has gone, or Shutdown has begun. May block; not in a callback.
func (g *Group) Join(w http.ResponseWriter, r *http.Request) (Stream, error) {
	s, _, err := g.join(w, r)
	return s, err
}

// join is Join. isParked reports whether w cannot be used any more.
func (g *Group) join(w http.ResponseWriter, r *http.Request) (s Stream, isParked bool, err error) {
	var text []byte
	if g.cfg.Retry > 0 {
		text = append(appendRetry(text, g.cfg.Retry), '\n')
	}
	id := LastEventID(r)
	continues := id != ""
	if continues && g.cfg.Replay != nil {
		if text, id, err = g.replay(text, r, id); err != nil {
			return Stream{}, false, err
		}
	}
	p, err := park(w, r, g.cfg.MaxPending, nil)
	if err != nil {
		return Stream{}, false, err
	}
	if err := g.add(p, text, continues, id); err != nil {
		_ = p.Close() // fails if the connection has ended
		return Stream{}, true, fmt.Errorf("sse: join a group: %w", err)
	}
	return Stream{p}, true, nil
}

// replay appends the events of Replay after the one with the ID to text, until the history has the rest. It returns the ID of the last one.
func (g *Group) replay(text []byte, r *http.Request, id string) (longer []byte, last string, err error) {
	for {
		g.mu.Lock()
		_, known := g.history.after(id)
		g.mu.Unlock()
		if known {
			return text, id, nil
		}
		events, err := g.cfg.Replay(r, id)
		if err != nil {
			return nil, "", fmt.Errorf("sse: replay the events after %q: %w", id, err)
		}
		if len(events) == 0 {
			return text, id, nil
		}
		for i := range events {
			if text, err = events[i].Append(text); err != nil {
				return nil, "", err
			}
		}
		last := events[len(events)-1].ID
		if last == "" || last == id {
			return nil, "", fmt.Errorf("%w: the last event of Replay has the ID %q", ErrInvalid, last)
		}
		id = last
	}
}

// add begins the stream with text and, if the client continues after the event with the ID, with those of the history, and makes it a
// member. Meanwhile no event is sent to the members.
func (g *Group) add(p *httpd.Parked, text []byte, continues bool, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if continues {
		missed, _ := g.history.after(id)
		for _, e := range missed {
			text = append(text, e.text...)
		}
	}
	if err := p.FlushError(); err != nil {
		return err
	}
	if len(text) > 0 {
		if _, err := p.Write(text); err != nil {
			return err
		}
	}
	if err := g.members.Add(p); err != nil {
		return err
	}
	g.startTimer()
	return nil
}

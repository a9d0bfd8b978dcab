package peer

import (
	"bytes"
	"math"
	"time"
)

// work is the processing of a slow request.
type work struct {
	spin bool // computes; otherwise it sleeps
	time time.Duration
}

var sleep, spin = []byte("sleep "), []byte("spin ")

// parseWork returns the work of a request such as "sleep 10ms" or "spin 1ms", and false for other requests.
func parseWork(line []byte) (w work, ok bool) {
	rest, ok := bytes.CutPrefix(line, sleep)
	if !ok {
		if rest, w.spin = bytes.CutPrefix(line, spin); !w.spin {
			return w, false
		}
	}
	d, err := time.ParseDuration(string(bytes.TrimSpace(rest)))
	w.time = d
	return w, err == nil && d > 0
}

func (w work) do() {
	if !w.spin {
		time.Sleep(w.time)
		return
	}
	x := 1.0
	for end := time.Now().Add(w.time); time.Now().Before(end); {
		for range 1000 {
			x = math.Sqrt(x + 1)
		}
	}
	if x < 0 {
		panic("the result is used")
	}
}

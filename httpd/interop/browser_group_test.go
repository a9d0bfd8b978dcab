package interop_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/sse"
	"github.com/evmq/evmq/internal/testkit"
)

// TestAnEventSourceInChromiumReceivesAllEventsOfAGroup in their order, also those that are sent during a deploy.
func TestAnEventSourceInChromiumReceivesAllEventsOfAGroup(t *testing.T) {
	if !testkit.Foreign() {
		t.Skip("EVMQ_FOREIGN is not 1")
	}
	results, joined := make(chan string, 1), make(chan string, 1)
	group, err := sse.NewGroup(&sse.GroupConfig{Retry: 10 * time.Millisecond})
	testkit.Must(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, eventsPage) }) // the page shows it
	mux.HandleFunc("/result", result(t, results))
	mux.HandleFunc("/events", func(w http.ResponseWriter, req *http.Request) {
		group.ServeHTTP(w, req)
		if sse.LastEventID(req) == "" {
			joined <- ""
		}
	})
	d := deploy(t, mux)
	b := browse(t, "http://"+d.addr+"/page")
	b.await(joined)
	half, replaced, sent := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i <= events; i++ {
			e := sse.Event{ID: strconv.Itoa(i), Data: "event " + strconv.Itoa(i) + "\nsecond line"}
			if i%10 == 0 {
				e.Name = "tenth"
			}
			if _, err := group.Broadcast(e, nil); err != nil { // clients that refuse an event connect again
				t.Errorf("event %d: %v", i, err)
			}
			switch {
			case i == events/2:
				close(half)
			case i == events-100:
				<-replaced
			case i > events/2:
				time.Sleep(100 * time.Microsecond) // so that some are sent at each time of the deploy
			}
		}
	}()
	<-half
	d.replace()
	close(replaced)
	<-sent
	testkit.WantEqual(t, "what the page says", b.await(results), "1000 true 100 2")
}

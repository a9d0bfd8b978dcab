package httpd

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A date is the value of the Date header for the rest of a second.
type date struct {
	text       string
	begin, end time.Duration // when it holds, since dateEpoch
}

var (
	dateEpoch = time.Now()
	lastDate  atomic.Pointer[date]
)

// dateNow returns the value of the Date header. It formats the time once a second, and otherwise reads the monotonic clock alone, which takes
// half the time of time.Now. When the system's clock is set, the value changes at the end of the second.
func dateNow() string {
	at := time.Since(dateEpoch)
	if d := lastDate.Load(); d != nil && d.begin <= at && at < d.end { // at may be earlier in a bubble of package synctest
		return d.text
	}
	now := time.Now()
	d := &date{text: now.UTC().Format(http.TimeFormat), begin: now.Sub(dateEpoch)}
	d.end = d.begin + time.Second - time.Duration(now.Nanosecond())
	lastDate.Store(d)
	return d.text
}

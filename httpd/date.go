package httpd

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A date is the text of the header Date for a second.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

// dateNow returns the value of the header Date. It formats the time once a second.
func dateNow() string {
	now := time.Now()
	second := now.Unix()
	if d := lastDate.Load(); d != nil && d.second == second {
		return d.text
	}
	d := &date{second, now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}

package httpd

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// The value of Date is that of the second, also just before and after its end, after a pause, and for each clock of the process.
func TestDateIsThatOfTheSecond(t *testing.T) {
	check := func() {
		t.Helper()
		if got, want := dateNow(), time.Now().UTC().Format(http.TimeFormat); got != want {
			t.Errorf("at %v: %s, want %s", time.Now(), got, want)
		}
	}
	for range 2 {
		synctest.Test(t, func(*testing.T) {
			// The clock of synctest passes at once.
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(300 * time.Millisecond)))
			for _, pause := range []time.Duration{
				0, 1, 699*time.Millisecond + 999998, 1, 1, time.Second - 2, 1, 1, time.Minute, time.Second, 24 * time.Hour, 999 * time.Millisecond,
			} {
				time.Sleep(pause)
				check()
				check()
			}
		})
		for { // the system's clock, unless the second ends meanwhile
			before := time.Now().UTC().Format(http.TimeFormat)
			got := dateNow()
			if after := time.Now().UTC().Format(http.TimeFormat); before == after {
				if got != before {
					t.Errorf("outside of a bubble: %s, want %s", got, before)
				}
				break
			}
		}
	}
}

func BenchmarkDate(b *testing.B) {
	for b.Loop() {
		dateNow()
	}
}

package client

// Stats has the counters and gauges of a Client. Counters only grow. The gauges are OpenConns, DialingConns, IdleConns, WaitingCalls and
// ActiveRequests.
type Stats struct {
	OpenConns      int // connections that are open or being closed
	DialingConns   int // connections that are being opened
	IdleConns      int // open connections without a request
	WaitingCalls   int // calls that wait for a connection
	ActiveRequests int // requests that were sent and are not answered, including abandoned ones

	Requests   uint64 // requests that were sent, including repeats
	Answers    uint64 // answers that calls have received
	Errors     uint64 // calls that have returned an error
	Abandoned  uint64 // calls whose context has ended before the answer
	Repeats    uint64 // requests that were sent again
	Full       uint64 // calls that were refused because of MaxWaiting
	Dials      uint64 // connections that were begun
	DialErrors uint64 // connections that could not be opened
	Unexpected uint64 // connections that were ended because of bytes without a request
}

// Stats returns the current counters and gauges. Any goroutine.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.OpenConns, s.DialingConns, s.WaitingCalls = c.conns-c.dialing, c.dialing, c.waiting.n+c.repeats.n
	if c.cfg != nil {
		s.IdleConns = c.byLoad[0].n
	}
	return s
}

func (c *Client) countError() {
	c.mu.Lock()
	c.stats.Errors++
	c.mu.Unlock()
}

package websocket

// Stats has the counters and gauges of a Handler. Counters only grow. The gauges are Open, FragmentBytes and InflatedBytes.
type Stats struct {
	Open          int    // WebSockets that are open or being closed
	Opened        uint64 // WebSockets whose handshake was complete
	Refused       uint64 // handshakes that were refused or have failed
	Received      uint64 // messages given to Config.Message
	Sent          uint64 // messages accepted for sending
	Full          uint64 // messages refused with ErrFull
	Violations    uint64 // WebSockets that were closed because the peer has broken a rule or a limit, or Message has panicked
	Pings         uint64 // pings sent because of Config.PingInterval
	FragmentBytes int64  // bytes held for messages in several frames, as MaxFragments counts them
	InflatedBytes int64  // bytes held for decompressed messages, likewise
}

// Stats returns the current counters and gauges. They are not read at exactly the same time. Any goroutine.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum counts
	sum.add(&h.gone)
	open := 0
	for _, w := range h.wheels {
		sum.add(w.counts)
		w.mu.Lock()
		open += w.len
		w.mu.Unlock()
	}
	return Stats{
		Open: open, Opened: sum.opened.Load(), Refused: h.refused.Load(), Received: sum.received.Load(), Sent: sum.sent.Load(),
		Full: sum.full.Load(), Violations: sum.violations.Load(), Pings: sum.pings.Load(), FragmentBytes: h.fragments.Load(), InflatedBytes: h.inflated.Load(),
	}
}

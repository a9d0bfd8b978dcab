package server

// ExecutorStats has the counters and gauges of one Executor of a server. A handler that has lost a loop to another goroutine runs on a
// goroutine of the server's own pool, and counts there.
type ExecutorStats struct {
	Name    string // the key in Server.Executors; empty for the server's own pool
	Workers int    // the result of its method Workers, which a Pool has; 0 without this method
	Queued  int    // requests that it has taken and that have not begun, including those that were refused meanwhile because of QueueTimeout
	Running int    // requests that run
	Backlog int    // requests that wait on the loops until it has room
	Busy    uint64 // requests that were refused because it was full
	Expired uint64 // requests that were refused because of QueueTimeout
	Faults  uint64 // times that it has broken the contract of Executor; the first of each kind is logged
}

// stats returns the counters and gauges.
func (ex *executor) stats() ExecutorStats {
	st := ExecutorStats{
		Name: ex.name, Queued: int(ex.queued.Load()), Running: int(ex.running.Load()), Backlog: int(ex.backlog.Load()),
		Busy: ex.busy.Load(), Expired: ex.expired.Load(),
	}
	if w, ok := ex.Executor.(interface{ Workers() int }); ok {
		st.Workers = w.Workers()
	}
	for i := range ex.faults {
		st.Faults += ex.faults[i].Load()
	}
	return st
}

// addExecutors adds the statistics of the executors.
func (st *Stats) addExecutors(executors []*executor) {
	for _, ex := range executors {
		one := ex.stats()
		if ex.isOwn() {
			n := ex.srv.pool.Counts()
			one.Queued, one.Running = n.Waiting, n.Running
			st.MaxQueuedRequests = n.MaxWaiting
		}
		st.QueuedRequests += one.Queued
		st.RunningRequests += one.Running
		st.Expired += one.Expired
		st.Executors = append(st.Executors, one)
	}
}

package event

import "github.com/evmq/evmq/internal/poller"

// parkByDefault is true where the parked driver has been proven.
const parkByDefault = true

func init() {
	backends = []backendEntry{{BackendEpoll, poller.NewEpoll}, {BackendPoll, poller.NewPoll}}
}

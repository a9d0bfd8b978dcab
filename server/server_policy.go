package server

import "fmt"

// A Balance says how the loop of a new connection is chosen. See Server.Balance.
type Balance uint8

// The ways to choose the loop of a new connection.
const (
	BalanceRoundRobin Balance = iota // the loops in turn
	BalanceLeastConns                // the loop that has the fewest connections
	BalanceSourceHash                // always the same loop for the same address of the peer
)

// String returns the name of the way. Any goroutine.
func (b Balance) String() string {
	switch b {
	case BalanceRoundRobin:
		return "round robin"
	case BalanceLeastConns:
		return "least connections"
	case BalanceSourceHash:
		return "source hash"
	}
	return fmt.Sprintf("Balance(%d)", uint8(b))
}

// A FullPolicy says what happens to a request that finds the workers' queue full. See Server.WhenFull.
type FullPolicy uint8

// The policies for a full queue.
const (
	FullStopReading FullPolicy = iota // the request waits, and its connection is not read until the request is in the queue; nothing is refused
	FullRefuse                        // the request is answered with BusyText, which must be set, in the order of the requests
	FullCloseConn                     // the connection of the request is closed with ErrOverload
)

// String returns the policy's name. Any goroutine.
func (p FullPolicy) String() string {
	switch p {
	case FullStopReading:
		return "stop reading"
	case FullRefuse:
		return "refuse"
	case FullCloseConn:
		return "close connection"
	}
	return fmt.Sprintf("FullPolicy(%d)", uint8(p))
}

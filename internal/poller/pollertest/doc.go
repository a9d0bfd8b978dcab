// Package pollertest holds every poller to the contract that stands at poller.Poller.
//
// A case is named for the rule it holds and carries the rule as a sentence, which a failure quotes. Cases look through the
// contract only: a poller's features decide what is asserted, its name never does. None relies on a sleep; a step that
// may block ends by itself or is failed by a watchdog.
package pollertest

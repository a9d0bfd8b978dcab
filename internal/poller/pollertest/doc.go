// Package pollertest checks that a poller fulfils the contract documented at poller.Poller.
//
// Each case is named for the rule that it checks and contains the rule as a sentence, which a failure quotes. Cases depend on the
// contract only: the poller's features, and never its name, decide what is asserted. No case relies on a sleep. A watchdog fails a step
// that blocks for too long.
package pollertest

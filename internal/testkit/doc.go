// Package testkit holds what the tests of several packages need: checks that fail a test, waits that end with a condition, loops
// that a test owns, and a clock that a test advances.
//
// It imports package event, so that the tests inside packages event and internal/poller cannot import it; their external tests can.
package testkit

//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
)

// The statuses that the program ends with are memcached's, and most of those sysexits.h's.
const (
	statusIllegal = 1  // an option that there is not, a value that it cannot have
	statusUsage   = 64 // options that make no sense together
	statusNoUser  = 67 // nobody of that name
	statusSystem  = 71 // the system refused
)

// failure is an error that ends the program with a status.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// illegal is a failure with the status of a wrong option; usage, noUser and system go with the others.
func illegal(format string, args ...any) error { return fail(statusIllegal, format, args...) }
func usage(format string, args ...any) error   { return fail(statusUsage, format, args...) }
func noUser(format string, args ...any) error  { return fail(statusNoUser, format, args...) }
func system(format string, args ...any) error  { return fail(statusSystem, format, args...) }

func fail(status int, format string, args ...any) error {
	return &failure{status, fmt.Errorf(format, args...)}
}

// status is what err ends the program with.
func status(err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.status
	}
	return statusIllegal
}

package event

import "golang.org/x/sys/unix"

// reservedSignal reports whether the C library reserves the signal. Go's runtime does not use these: SIGCANCEL and
// SIGSETXID of glibc, and SIGSYNCCALL of musl (runtime/sigtab_linux_generic.go).
func reservedSignal(s unix.Signal) bool { return s >= 32 && s <= 34 }

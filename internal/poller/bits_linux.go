package poller

import "golang.org/x/sys/unix"

const (
	pollRDHUP    = unix.POLLRDHUP
	pollFeatures = FeatureClosed | FeatureAnyFile
)

// These declarations check at compile time that epoll has poll's bits: an index other than 0 is out of range.
var (
	_ = [1]struct{}{}[unix.EPOLLIN-unix.POLLIN]
	_ = [1]struct{}{}[unix.EPOLLOUT-unix.POLLOUT]
	_ = [1]struct{}{}[unix.EPOLLRDHUP-unix.POLLRDHUP]
	_ = [1]struct{}{}[unix.EPOLLHUP-unix.POLLHUP]
	_ = [1]struct{}{}[unix.EPOLLERR-unix.POLLERR]
)

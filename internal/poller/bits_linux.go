package poller

import "golang.org/x/sys/unix"

const (
	pollRDHUP    = unix.POLLRDHUP
	pollFeatures = FeatureClosed | FeatureAnyFile
)

// That epoll's bits are poll's is checked here, when it is compiled: an index other than 0 is out of range.
var (
	_ = [1]struct{}{}[unix.EPOLLIN-unix.POLLIN]
	_ = [1]struct{}{}[unix.EPOLLOUT-unix.POLLOUT]
	_ = [1]struct{}{}[unix.EPOLLRDHUP-unix.POLLRDHUP]
	_ = [1]struct{}{}[unix.EPOLLHUP-unix.POLLHUP]
	_ = [1]struct{}{}[unix.EPOLLERR-unix.POLLERR]
)

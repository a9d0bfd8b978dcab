//go:build darwin || freebsd

// Experimental: compiled and vetted for darwin and freebsd, never run by the authors.

package sock

// InheritsOptions reports whether a TCP connection has its listener's options when it is accepted. These systems do not guarantee it.
const InheritsOptions = false

const onLinux = false

// IsMultipath reports whether fd is a socket of Multipath TCP.
func IsMultipath(int) bool { return false }

func (o *Options) applyLinuxListener(string, *setter) {}

func (o *Options) applyLinuxTCP(*setter) {}

//go:build darwin || freebsd

// Experimental: compiled and vetted for darwin and freebsd, never run by the authors.

package sock

// InheritsOptions says that a TCP connection has its listener's options when it is accepted. Here it is not promised.
const InheritsOptions = false

const onLinux = false

func (o *Options) applyLinuxListener(string, *setter) {}

func (o *Options) applyLinuxTCP(*setter) {}

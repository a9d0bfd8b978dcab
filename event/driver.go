package event

import (
	"errors"
	"fmt"

	"github.com/evmq/evmq/internal/poller"
)

// driver is how a loop sleeps. wait, adopt and close belong to the goroutine that runs the loop; claimed and ring by any
// goroutine that has turned the loop's flag.
type driver interface {
	name() Driver

	// open makes a poller that this driver can sleep on.
	open() (Poller, error)

	// adopt makes p the poller from now on. The one before stays open for its owner to close. On an error the one before is still
	// the poller. Under l.mu, but for the first.
	adopt(p Poller) error

	// wait fills ready. With block it sleeps while nothing is ready and the loop has no work, until the loop's next
	// deadline at the latest; it may return early with nothing.
	wait(ready []Ready, block bool) (int, error)

	// claimed announces a ring: a waker has turned the flag, and rings once it has unlocked l.mu. Under l.mu.
	claimed()

	// ring ends a sleep, or the next one if none is under way.
	ring()

	// close releases what the driver holds, but not the poller. It waits for the rings that were announced.
	close() error
}

// newDriver chooses the driver and opens the loop's poller.
func (l *Loop) newDriver(c *config) error {
	open, err := c.opener()
	if err != nil {
		return err
	}
	var d driver
	switch c.Driver {
	case DriverPark:
		d, err = startDriver(newParkDriver(l, open))
	case DriverThread:
		d, err = startDriver(newThreadDriver(l, open, c.waker))
	case DriverDefault:
		d, err = l.defaultDriver(c, open)
	default:
		err = fmt.Errorf("%w: driver %q", ErrUnsupported, c.Driver)
	}
	if err != nil {
		return err
	}
	l.driver = d
	l.features = l.poller.Features()
	if !l.features.Has(c.Features) {
		err := fmt.Errorf("%w: backend %s has %v, asked for %v", ErrUnsupported, l.poller.Name(), l.features, c.Features)
		return errors.Join(err, d.close(), l.poller.Close())
	}
	return nil
}

// defaultDriver parks where parking is proven and works, and falls back to a thread.
func (l *Loop) defaultDriver(c *config, open func(poller.WakerKind) (Poller, error)) (driver, error) {
	if parkByDefault && c.Backend != BackendPoll {
		d, err := startDriver(newParkDriver(l, open))
		if err == nil {
			return d, nil
		}
		if c.OpenPoller == nil {
			c.Logger.Warn("event: parked driver does not work here; the loop takes a thread", "err", err)
		}
	}
	return startDriver(newThreadDriver(l, open, c.waker))
}

// startDriver opens the first poller of a driver.
func startDriver(d interface {
	driver
	loop() *Loop
}) (driver, error) {
	p, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := d.adopt(p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	d.loop().poller = p
	return d, nil
}

package admit

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// hearToken hands the key over to who has a token.
func (d *Desk) hearToken(ctx context.Context, c Stream, host netip.Addr, body []byte) {
	secret, who, err := decodeToken(body)
	if err != nil {
		d.refuse(c, RefusedOther, notUnderstood)
		return
	}
	_ = c.SetDeadline(time.Now().Add(redeemLimit + exchangeLimit))
	limited, cancel := context.WithTimeout(ctx, redeemLimit)
	defer cancel()
	err = d.redeem(limited, secret, Waiting{Newcomer: who, Addr: host, Since: time.Now()})
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		d.refuse(c, refusal.Code, refusal.Text)
	case err != nil:
		d.refuse(c, RefusedBusy, "the cluster cannot take a token now")
	default:
		if writeMessage(c, kindKey, []byte(d.key())) != nil {
			return
		}
		if _, err := expect(c, kindKept, 0); err == nil {
			d.admitted.Add(1)
		}
	}
}

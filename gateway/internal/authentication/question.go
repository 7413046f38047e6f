package authentication

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

const (
	mostTogether = 100                  // tokens in one call
	callsAtOnce  = 2                    // calls under way while which questions gather
	gatherWait   = 5 * time.Millisecond // for them to return, at most
	longToken    = 4 << 10              // bytes; longer ones, which are refused anyway, would make the calls of others too large
	aloneFor     = 30 * time.Second     // after an auth-service that answers single questions only
)

// verdict is what became of one question of a call.
type verdict struct {
	response *authv1.AuthenticateResponse
	err      error // a fault
}

// errAlone tells that a question is to be asked by itself.
var errAlone = errors.New("not answered together with others")

// question asks about a token: in one call with others that come at the same time, or alone where that cannot be.
func (a *Authentication) question(ctx context.Context, r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, error) {
	if len(r.GetToken()) <= longToken && a.mayGather(time.Now()) {
		v, err := a.batches.Ask(ctx, r)
		switch {
		case err == nil && !errors.Is(v.err, errAlone):
			return v.response, v.err
		case err != nil && !errors.Is(err, errAlone):
			return nil, err
		}
	}
	call, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	res, err := a.service.Authenticate(call, r)
	err = fault.FromStatus(err)
	if err == nil || answers(err) || ctx.Err() == nil { // else nobody waits
		a.heard(ctx, err)
	}
	return res, err
}

// many asks about tokens in one call. One token is asked about as ever: an older auth-service answers that, too.
func (a *Authentication) many(ctx context.Context, requests []*authv1.AuthenticateRequest) ([]verdict, error) {
	verdicts := make([]verdict, len(requests))
	if len(requests) == 1 {
		res, err := a.service.Authenticate(ctx, requests[0])
		verdicts[0] = verdict{res, fault.FromStatus(err)}
		a.outcome(ctx, verdicts)
		return verdicts, nil
	}
	res, err := a.service.AuthenticateBatch(ctx, &authv1.AuthenticateBatchRequest{Requests: requests})
	switch {
	case status.Code(err) == codes.Unimplemented:
		a.gatherNoMore(time.Now())
		return nil, errAlone
	case err != nil:
		err = fault.FromStatus(err)
		a.outcome(ctx, []verdict{{err: err}})
		return nil, err
	case len(res.GetResults()) != len(requests):
		return nil, fault.Newf(fault.Internal, "auth-service gave %d answers to %d questions", len(res.GetResults()), len(requests))
	}
	for i, result := range res.GetResults() {
		if verdicts[i].response = result.GetResponse(); verdicts[i].response == nil {
			verdicts[i].err = fault.FromProto(result.GetFault())
		}
	}
	a.outcome(ctx, verdicts)
	for i := range verdicts { // it may be that replica, or that token: alone it goes to others, and holds up nobody
		if fault.KindOf(verdicts[i].err) == fault.Unavailable {
			verdicts[i].err = errAlone
		}
	}
	return verdicts, nil
}

// outcome notes whether a call was answered. However many questions it had, it counts once.
func (a *Authentication) outcome(ctx context.Context, verdicts []verdict) {
	for _, v := range verdicts {
		if v.err == nil || answers(v.err) {
			a.heard(ctx, nil)
			return
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // else nobody waits
		a.heard(ctx, verdicts[0].err)
	}
}

// heard notes what auth-service said, or that it said nothing.
func (a *Authentication) heard(ctx context.Context, err error) {
	if err == nil || answers(err) {
		a.answered()
		a.silent.Over(ctx)
		return
	}
	a.silent.Failed(ctx, err)
	if kind := fault.KindOf(err); kind == fault.Unavailable || kind == fault.Timeout {
		a.failed()
	}
}

// mayGather tells whether questions are asked together.
func (a *Authentication) mayGather(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !now.Before(a.aloneTo)
}

// gatherNoMore has questions be asked one by one for a while, after which auth-service may be a newer one.
func (a *Authentication) gatherNoMore(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aloneTo = now.Add(aloneFor)
}

import { Component, type ReactNode } from 'react';
import { useI18n } from '../i18n/index.tsx';
import { Icon } from '../icons.tsx';

/** Holds a fault of what is inside: the rest of the page, and the store with its outbox, go on. */
export class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } { return { failed: true }; }

  override render(): ReactNode {
    return this.state.failed ? <Failed again={() => this.setState({ failed: false })} /> : this.props.children;
  }
}

function Failed({ again }: { again: () => void }): ReactNode {
  const { t } = useI18n();
  return (
    <div className="nothing" role="alert">
      <Icon name="alert" size={36} />
      <p>{t('fault.here')}</p>
      <button type="button" className="primary" onClick={again}>{t('fault.again')}</button>
    </div>
  );
}

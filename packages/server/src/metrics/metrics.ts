/**
 * The metrics of one node.
 */
import { Registry } from 'prom-client'

export class Metrics {
  readonly registry: Registry = new Registry()
  readonly http: {
    refused(code: string): void
    answered(method: string, route: string, status: number, seconds: number): void
  } = {
    refused: () => {},
    answered: () => {},
  }
  text(): Promise<string> {
    return this.registry.metrics()
  }
}

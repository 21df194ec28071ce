/** Address of the platform unless PAIRWISE_ADDRESS or an option says otherwise. */
export const defaultAddress = '127.0.0.1:7410';
